"""The hooks of a run, in the order in which they are called."""

from collections.abc import Sequence

from engine.events import Metric
from engine.objectives.objective import Objective
from engine.train.answers import Answers
from engine.train.hooks.adapter_check import AdapterCheck
from engine.train.hooks.context import RunContext
from engine.train.hooks.data_wait import DataWait
from engine.train.hooks.loss_warnings import LossWarnings
from engine.train.hooks.memory_check import MemoryCheck
from engine.train.hooks.run_control import ObeyRunControl
from engine.train.hooks.samples import SampleAnswers
from engine.train.hooks.save_checkpoints import SaveCheckpoints
from engine.train.hooks.step_events import StepEvents
from engine.train.loop import Hook
from engine.train.saving.checkpoints import Checkpoints


def hooks_of(
    context: RunContext, answers: Answers, checkpoints: Checkpoints, vocab_size: int
) -> list[Hook]:
    """A new hook is one line here; what it measures is told with the step by `StepEvents`."""
    training = context.recipe.training
    return [
        LossWarnings(context.log, vocab_size, training.gradient_accumulation_steps),
        AdapterCheck(context.log),
        DataWait(context.log),
        StepEvents(context.log),
        MemoryCheck(context.log, context.request.forecast, context.request.hardware.device),
        ObeyRunControl(context.log, context.control),
        SampleAnswers(answers, context.recipe.samples, context.control),
        SaveCheckpoints(context.log, checkpoints),
    ]


def metrics_of(objective: Objective, hooks: Sequence[Hook]) -> tuple[Metric, ...]:
    """What steps may carry, for those who draw them."""
    return (*objective.metrics, *(metric for hook in hooks for metric in hook.metrics))
