"""Answers of base and adapter while a run goes on."""

from engine.recipe.schema import Samples
from engine.run.control import RunControl
from engine.run.rundir import Want
from engine.train.answers import Answers
from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState


class SampleAnswers(Hook):
    """Asks the recipe's prompts every so many steps, and where a viewer wants it."""

    def __init__(self, answers: Answers, samples: Samples, control: RunControl) -> None:
        self._answers = answers
        self._samples = samples
        self._control = control

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """Sample where it is time; after the last step the run does that by itself."""
        every = self._samples.every
        is_last = result.step >= state.total_steps
        is_due = bool(every) and result.step % every == 0 and not is_last
        if self._control.take(Want.SAMPLE) or is_due:
            self._answers.sample(self._samples, result.step)
