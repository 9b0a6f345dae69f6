"""A training run, phase by phase: rows, model, training, adapter, answers.

It is one attempt, or several with less and less at a time where memory lacks.
"""

import gc
import traceback
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from engine import events, installed
from engine.budget.placement import placed_model
from engine.data.prepare import Prepared
from engine.gemma.gguf import checkpoint, files
from engine.gemma.gguf import model as gguf_model
from engine.hardware import card_memory, kernel_choice
from engine.model import lora
from engine.model.load import Loaded, load
from engine.model.protocols import AdaptedModel
from engine.objectives.sft import SupervisedFineTuning
from engine.recipe import image_rows
from engine.recipe.schema import Training
from engine.run import checkpoint_manifest
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.foothold import RunGone
from engine.run.request import Request
from engine.run.rundir import RunDir
from engine.sessions import doctor_report
from engine.train import determinism, failures, planning
from engine.train.answers import Answers, Figures, questions
from engine.train.failures import OutOfMemory
from engine.train.hooks.adapter_check import judge_saved
from engine.train.hooks.context import RunContext
from engine.train.hooks.registry import hooks_of, metrics_of
from engine.train.hooks.save_checkpoints import NotSaved, require_room
from engine.train.hooks.step_events import step_event
from engine.train.loop import Hook, train
from engine.train.optimizer import optimizer_of
from engine.train.progress import NonFiniteGuard, NotFinite
from engine.train.rows import Rows, read_rows
from engine.train.saving import final_adapter
from engine.train.saving.checkpoints import Checkpoints
from engine.train.saving.final_adapter import EndFailed
from engine.train.state import TrainingState, assembled, progress_of, restore_weights

_NOT_FORESEEN = events.Warned(
    code="images_not_foreseen",
    message="there are rows with images, none of them at the head of a JSON file: the memory "
    "forecast knows of neither images nor towers",
    fix="Put such a row first, and see gemma-bench budget; or watch the memory of the first steps",
)
_ALONE = "there are rows with images, each of which gets a sequence of its own"


@dataclass(frozen=True, slots=True)
class _Try:
    """How to train, and from where on."""

    training: Training
    start: Checkpoint | None


def train_run(run: RunDir, log: EventLog, control: RunControl, start: Checkpoint | None) -> None:
    """Train from the first step, or on from a checkpoint of the same run.

    Out of memory, it begins again with less at a time where the recipe says so. Raises `Refusal`
    where the run is no longer the one that wrote the checkpoint.
    """
    request = run.read_request()
    if request.hardware.device == "cuda":
        card_memory.used_before()
    next_try: _Try | None = _Try(request.recipe.training, start)
    while next_try:
        next_try = _train_once(run, log, control, request, next_try)
        # The error is gone with what it held of the model; a cycle may hold some yet.
        gc.collect()


def _train_once(
    run: RunDir, log: EventLog, control: RunControl, request: Request, this_try: _Try
) -> _Try | None:
    """Train to the end; where memory does not do, give how to try again."""
    try:
        _attempt(run, log, control, this_try.start, request, this_try.training)
    except OutOfMemory as error:
        smaller = failures.smaller(this_try.training)
        if request.recipe.training.on_out_of_memory == "stop" or smaller is None:
            raise
        start, rejected = checkpoint_manifest.newest(run)
        log.append(failures.retried(error, smaller, start))
        if start:
            rounding = "but for the rounding of smaller batches"
            log.append(checkpoint_manifest.resumed(run, start, rejected, rounding))
        return _Try(smaller, start)
    except StoppedEarly:
        if this_try.start is None:
            raise
        log.append(_stopped_at(run, this_try.start, control))
    return None


def _stopped_at(run: RunDir, start: Checkpoint, control: RunControl) -> events.Done:
    """A run that was to go on and was stopped before it did stands where it stood."""
    steps = (event for event in run.last_events() if isinstance(event, events.Step))
    last = next((step for step in steps if step.step == start.step), None)
    return events.Done(
        steps=start.step,
        loss=last.metrics.get("loss") if last else None,
        token_accuracy=last.metrics.get("token_accuracy") if last else None,
        elapsed_s=last.elapsed_s if last else 0.0,
        adapter=str(start.folder.relative_to(run.path)),
        stopped_by=control.stopped_by,
    )


def _attempt(
    run: RunDir,
    log: EventLog,
    control: RunControl,
    start: Checkpoint | None,
    request: Request,
    training: Training,
) -> None:
    """Train from the first step or from a checkpoint to the done event, as `training` says.

    Raises `OutOfMemory`, and `Refusal` where the run is no longer the one that wrote the
    checkpoint.
    """
    recipe = request.recipe.model_copy(update={"training": training})
    context = RunContext(run, request, recipe, log, control, SupervisedFineTuning())
    _warn_of_diagnosis(log)
    _warn_of_triton(context)
    rows = read_rows(context)
    context.stop_if_asked()
    loaded = _load(context, has_towers=rows.images is not None)
    _leave_images_unpacked(context, rows, loaded)
    facts = planning.facts(
        context.recipe, request.recipe.training, rows.template, rows.prepared, loaded.device
    )
    planning.require_same(run, request, facts, start)
    targets = lora.adapted(loaded.model, context.recipe.adapter)
    model = lora.attach(loaded.model, context.recipe.adapter, training.seed)
    lora.start_as_trl(model)
    state = _assembled(context, rows, loaded, model)
    row_questions = questions(rows.prepared, recipe.samples.rows)
    answers = Answers(model, loaded.tokenizer, rows.template, log, control, row_questions)
    # Loading took its time, and what lies here by now may be another's.
    context.stop_if_asked()
    checkpoints = Checkpoints(run, training.save_total_limit, facts)
    hooks = hooks_of(context, answers, checkpoints, loaded.vocab_size)
    plan = _plan(context, loaded, rows, targets, state, hooks)
    _begin(context, state, checkpoints, answers, plan, start)
    with final_adapter.room_for_adapter(run, state, log) as give_room:
        try:
            _take_steps(context, state, hooks, start)
        except Exception as error:
            if not _ends_training(error, state):
                raise
            give_room()
            raise EndFailed(error, final_adapter.rescue(run, state)) from error
        give_room()
        _finish(context, state, answers, rows.prepared)


def _ends_training(error: Exception, state: TrainingState) -> bool:
    """Whether it comes of saving, or after the last step: no checkpoint may have what was trained.

    Out of memory, the run may begin again; with its folder gone, nobody waits for it.
    """
    if isinstance(error, OutOfMemory | RunGone):
        return False
    return isinstance(error, NotSaved) or state.progress.step >= state.total_steps


def _warn_of_diagnosis(log: EventLog) -> None:
    """Warn of what the doctor found wrong with these versions, where it was asked."""
    diagnosis = doctor_report.load(installed.versions())
    for warning in diagnosis.warnings() if diagnosis else ():
        log.append(warning)


def _warn_of_triton(context: RunContext) -> None:
    """Warn of a card whose kernels can't be built."""
    why = context.request.hardware.why_no_triton
    if why:
        message = f"Triton can't build its kernels here: {why}; the engine's own head takes longer"
        fix = kernel_choice.triton_fix(why)
        context.log.append(events.Warned(code="no_triton", message=message, fix=fix))


def _load(context: RunContext, *, has_towers: bool) -> Loaded:
    _into_cache(context)
    context.log.append(events.Phase(name="loading", detail=context.recipe.model.path))
    model, why = placed_model(context.recipe, context.request.hardware)
    reasons = determinism.settle(context.recipe)
    loaded = load(model, context.request.hardware, has_towers=has_towers)
    loaded.reasons.update(reasons)
    loaded.reasons.update({"per-layer embeddings": why} if why else {})
    if files.is_gguf(model.path):
        loss = gguf_model.loss_of(model.path)
        loaded.reasons["weights"] = loss or "as they stand in the file, which rounded none"
    return loaded


def _into_cache(context: RunContext) -> None:
    """See that the weights of a GGUF file are in the cache, and warn of what they lost."""
    path, log = context.recipe.model.path, context.log
    if not files.is_gguf(path):
        return

    def tell(detail: str) -> None:
        context.stop_if_asked()
        log.append(events.Phase(name="loading", detail=detail))

    checkpoint.with_weights(path, tell)
    if loss := gguf_model.loss_of(path):
        fix = "Where that matters, train on the model's page of the hub: model.path = google/..."
        message = f"the weights have {loss}"
        log.append(events.Warned(code="quantised_before", message=message, fix=fix))


def _leave_images_unpacked(context: RunContext, rows: Rows, loaded: Loaded) -> None:
    """Switch packing off where rows hold images, and say what that changes."""
    data, log = context.recipe.data, context.log
    if not rows.prepared.rows.hold_images:
        return
    if not image_rows.most_images(data):
        log.append(_NOT_FORESEEN)
    if not data.packing:
        return
    loaded.reasons["packing"] = f"off: {_ALONE}"
    fix = "Leave out data.packing, or train the rows without images in a run of their own"
    log.append(events.Warned(code="packing_off", message=f"packing is off: {_ALONE}", fix=fix))
    unpacked = data.model_copy(update={"packing": False})
    context.recipe = context.recipe.model_copy(update={"data": unpacked})


def _assembled(
    context: RunContext, rows: Rows, loaded: Loaded, model: AdaptedModel
) -> TrainingState:
    recipe, objective = context.recipe, context.objective
    training = recipe.training
    max_skipped = training.max_skipped_steps if training.on_nonfinite == "skip" else 0
    guard = NonFiniteGuard(max_skipped, context.log.append)
    sequences = objective.sequences(recipe.data, rows.prepared)
    optimizer = optimizer_of(model, training)
    return assembled(
        model, loaded, sequences, objective, optimizer, training, recipe.data, rows.images, guard
    )


def _plan(
    context: RunContext,
    loaded: Loaded,
    rows: Rows,
    targets: list[str],
    state: TrainingState,
    hooks: Sequence[Hook],
) -> events.Plan:
    """What the run resolved to; plan.json holds all of it."""
    metrics = metrics_of(context.objective, hooks)
    recipe, prepared = context.recipe, rows.prepared
    loaded.reasons.update(planning.at_the_end_only(recipe, state.total_steps))
    plan = planning.plan(recipe, loaded, rows.template, prepared, targets, state, metrics)
    accounts = planning.accounts(recipe, prepared, state.num_sequences)
    context.run.write_plan({**context.request.as_dict(), **planning.document(plan), **accounts})
    return plan


def _begin(
    context: RunContext,
    state: TrainingState,
    checkpoints: Checkpoints,
    answers: Answers,
    plan: events.Plan,
    start: Checkpoint | None,
) -> None:
    """Say where the run begins; a fresh one answers its prompts before the first step."""
    context.log.append(plan)
    context.log.append(events.Phase(name="training", detail=f"{plan.total_steps} steps"))
    context.stop_if_asked()
    require_room(checkpoints, state, context.log)
    if start is None:
        if warning := planning.endless_warmup(context.recipe.training, plan.total_steps):
            context.log.append(warning)
        answers.sample(context.recipe.samples, 0)
        context.stop_if_asked()
    elif planning.parent(context.request, start) and (moved := planning.position(start, plan)):
        # A branch may have other rows in a step than the run that its checkpoint is from.
        context.log.append(moved)


def _take_steps(
    context: RunContext, state: TrainingState, hooks: Sequence[Hook], start: Checkpoint | None
) -> None:
    """Take the steps that are left; of a run that ended while it was saving there are none."""
    if start and start.step >= state.total_steps:
        restore_weights(state, start.folder)
        state.progress = progress_of(start.folder)
        steps = (event for event in context.run.last_events() if isinstance(event, events.Step))
        state.last_metrics = next((dict(step.metrics) for step in steps), {})
        return
    try:
        train(state, hooks, start.folder if start else None)
    except NotFinite as failure:
        # So that the loss which was no number is seen.
        context.log.append(step_event(state, failure.result))
        raise
    except Exception as error:
        if not failures.is_out_of_memory(error):
            raise
        traceback.print_exc()
        lacking = OutOfMemory(str(error), state.progress.step + 1, state.batch_shape)
    else:
        return
    # Raised out here, where PyTorch's own error is gone with the tensors that it held.
    raise lacking


def _finish(
    context: RunContext,
    state: TrainingState,
    answers: Answers,
    prepared: Prepared,
) -> None:
    """Save the adapter, answer and score with it, and say the run's last word."""
    run, log = context.run, context.log
    log.append(events.Phase(name="saving", detail=run.adapter.name))
    final_adapter.save(run, state, log)
    try:
        for warning in judge_saved(state.model, run.adapter):
            log.append(warning)
        log.append(_done(context, state, answers, prepared))
    except Exception as error:
        raise EndFailed(error, run.adapter) from error


def _done(
    context: RunContext, state: TrainingState, answers: Answers, prepared: Prepared
) -> events.Done:
    """Answer and score with the adapter, unless somebody stopped the run."""
    stopped_by, figures = context.control.stopped_by, Figures()
    if stopped_by is None:
        context.log.append(events.Phase(name="sampling", detail="base and adapter"))
        complete = answers.finish(context.recipe, prepared.examples, state.progress.step)
        figures, stopped_by = complete or figures, None if complete else context.control.stopped_by
    return events.Done(
        steps=state.progress.step,
        loss=state.last_metrics.get("loss"),
        token_accuracy=state.last_metrics.get("token_accuracy"),
        elapsed_s=round(state.progress.elapsed_s, 3),
        adapter=context.run.adapter.name,
        stopped_by=stopped_by,
        **asdict(figures),
    )
