"""One attempt at a run, phase by phase: data, loading, training, saving, sampling."""

import traceback
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from engine import events, installed, user_dirs
from engine.budget.placement import placed_model
from engine.data.batches import TokenSequences, apart, pack
from engine.data.image_tokenizer import ImageTokenizer, sight
from engine.data.own_template import choose, difference
from engine.data.prepare import Prepared, prepare
from engine.data.rendering import Template
from engine.data.tokenizer import tokenizer_and_config
from engine.gemma.config import dialect_of
from engine.hardware.profiles import Profile
from engine.model import lora
from engine.model.generate import Cut
from engine.model.load import Loaded, load
from engine.recipe import image_rows
from engine.recipe.schema import Recipe, Training
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.control import RunControl, StoppedEarly
from engine.run.event_log import EventLog
from engine.run.request import Request
from engine.run.rundir import RunDir
from engine.sessions import doctor_report
from engine.train import determinism, out_of_memory, planning, sft
from engine.train.checkpoint import Checkpoints
from engine.train.loss_guards import Guard, NotFinite
from engine.train.memory_check import MemoryCheck
from engine.train.out_of_memory import OutOfMemory
from engine.train.report import Report
from engine.train.sampling import Figures, Sampler
from engine.train.saving import Saver, save_adapter
from engine.train.token_counts import Tally

_NOT_FORESEEN = events.Warned(
    code="images_not_foreseen",
    message="there are rows with images, none of them at the head of a JSON file: the memory "
    "forecast knows of neither images nor towers",
    fix="Put such a row first, and see gemma-bench budget; or watch the memory of the first steps",
)
_ALONE = "there are rows with images, each of which gets a sequence of its own"


def attempt(
    run: RunDir,
    log: EventLog,
    wishes: RunControl,
    start: Checkpoint | None,
    asked: Recipe,
    training: Training,
) -> None:
    """Train from the first step or from a checkpoint to the done event, as `training` says.

    `asked` is the run's recipe, of whose training memory may have allowed less at a time. Raises
    `OutOfMemory`, and `Refusal` where the run is no longer the one that wrote the checkpoint.
    """
    request = run.read_request()
    recipe = asked.model_copy(update={"training": training})
    profile = request.hardware
    _tell_findings(log)
    log.append(events.Phase(name="data", detail=", ".join(s.label for s in recipe.data.sources)))
    chosen, seen, prepared = _read(recipe, log)
    _stop_if_asked(wishes)
    log.append(events.Phase(name="loading", detail=recipe.model.path))
    loaded = _loaded(recipe, profile, has_towers=seen is not None)
    recipe = _with_images(recipe, prepared, loaded, log)
    facts = planning.facts(recipe, asked.training, chosen, prepared)
    planning.require_same(run, facts, start)
    sequences = _sequences(recipe, prepared)
    targets = lora.adapted(loaded.model, recipe.adapter)
    model = lora.attach(loaded.model, recipe.adapter, recipe.training.seed)
    sampler = Sampler(model, loaded.tokenizer, chosen, log, wishes)
    tally = Tally()
    report = _report(log, wishes, tally, loaded, recipe, sampler, request)
    checkpoints = Checkpoints(run, recipe.training.save_total_limit, facts)
    config = sft.arguments(recipe.training, recipe.data, loaded, run.checkpoints)
    ratio = recipe.training.loraplus_lr_ratio
    guard = _guard(recipe.training, log)
    save = Saver(checkpoints, recipe.training, report, guard, log)
    trainer = sft.trainer(model, loaded, sequences, config, report, tally, save, seen, ratio, guard)
    plan = planning.plan(recipe, loaded, chosen, prepared, targets, trainer)
    told = planning.accounts(recipe, prepared, sequences)
    run.write_plan({**request.as_dict(), **planning.document(plan), **told})
    log.append(plan)
    log.append(events.Phase(name="training", detail=f"{plan.total_steps} steps"))
    _stop_if_asked(wishes)
    save.require_room(trainer)
    if start:
        _tell_position(request, start, plan, log)
        save.go_on(start)
    else:
        _sample(sampler, recipe, 0)
        _stop_if_asked(wishes)
    _run_steps(run, trainer, report, start, plan.total_steps)
    steps = trainer.state.global_step
    log.append(events.Phase(name="saving", detail=run.adapter.name))
    save_adapter(run, model)
    stopped_by, figures = wishes.stopped_by, Figures()
    if stopped_by is None:
        log.append(events.Phase(name="sampling", detail="base and adapter"))
        figures, stopped_by = _final_answers(sampler, recipe, prepared, steps)
    log.append(_done(run, report, steps, figures, stopped_by))


def _tell_position(request: Request, start: Checkpoint, plan: events.Plan, log: EventLog) -> None:
    """A branch may have other rows in a step than the run that its checkpoint is from."""
    moved = planning.position(start, plan) if planning.parent(request, start) else None
    if moved:
        log.append(moved)


def _report(
    log: EventLog,
    wishes: RunControl,
    tally: Tally,
    loaded: Loaded,
    recipe: Recipe,
    sampler: Sampler,
    request: Request,
) -> Report:
    return Report(
        log=log,
        wishes=wishes,
        tally=tally,
        vocab_size=loaded.vocab_size,
        save_steps=recipe.training.save_steps,
        sample_every=recipe.samples.every,
        sample=lambda step: _sample(sampler, recipe, step),
        truth=MemoryCheck(log, request.forecast),
    )


def _guard(training: Training, log: EventLog) -> Guard:
    return Guard(training.max_skipped_steps if training.on_nonfinite == "skip" else 0, log.append)


def _run_steps(
    run: RunDir, trainer: Any, report: Report, start: Checkpoint | None, total: int
) -> None:
    """The optimizer steps that are left; of a run that ended while it was saving there are none."""
    folder = str(start.folder) if start else None
    if start and start.step >= total:
        trainer._load_from_checkpoint(folder)
        trainer.state.global_step = start.step
        steps = (event for event in run.last_events() if isinstance(event, events.Step))
        report.last = next(steps, None)
        return
    try:
        trainer.train(resume_from_checkpoint=folder)
    except NotFinite as failed:
        report.show(failed, trainer.state)
        raise
    except Exception as error:
        if not out_of_memory.is_one(error):
            raise
        traceback.print_exc()
        lacked = OutOfMemory(str(error), trainer.state.global_step + 1, trainer.batch_shape)
    else:
        return
    raise lacked


def _tell_findings(log: EventLog) -> None:
    """What the doctor found wrong with these versions, where it was asked."""
    known = doctor_report.kept(installed.versions())
    for warning in known.warnings() if known else ():
        log.append(warning)


def _read(recipe: Recipe, log: EventLog) -> tuple[Template, ImageTokenizer | None, Prepared]:
    """The rows as tokens by a template, and how images are seen where rows hold some."""
    tokenizer, config = tokenizer_and_config(recipe.model)
    chosen = choose(recipe.data.template, tokenizer, dialect_of(config.to_dict()))
    _tell_difference(log, tokenizer, chosen)
    seen = sight(recipe.model, config, tokenizer)
    prepared = prepare(recipe.data, tokenizer, chosen, user_dirs.cache(), sight=seen)
    return chosen, seen if prepared.rows.hold_images else None, prepared


def _loaded(recipe: Recipe, profile: Profile, *, has_towers: bool) -> Loaded:
    choice, why = placed_model(recipe, profile)
    settled = determinism.settle(recipe)
    loaded = load(choice, profile, has_towers=has_towers)
    loaded.reasons.update(settled)
    loaded.reasons.update({"per-layer embeddings": why} if why else {})
    return loaded


def _stop_if_asked(wishes: RunControl) -> None:
    wishes.poll()
    if wishes.stopped_by:
        raise StoppedEarly(f"stopped by {wishes.stopped_by} before the first step")


def _tell_difference(log: EventLog, tokenizer: Any, chosen: Template) -> None:
    found = difference(tokenizer, chosen)
    if found:
        told = f"the template trained on writes otherwise than the model's own:\n{found}"
        fix = 'data.template = "model" trains on the model\'s own'
        log.append(events.Warned(code="template_differs", message=told, fix=fix))


def _with_images(recipe: Recipe, prepared: Prepared, loaded: Loaded, log: EventLog) -> Recipe:
    """The recipe without packing where rows hold images; what that changes is told."""
    if not prepared.rows.hold_images:
        return recipe
    if not image_rows.most_images(recipe.data):
        log.append(_NOT_FORESEEN)
    if not recipe.data.packing:
        return recipe
    loaded.reasons["packing"] = f"off: {_ALONE}"
    fix = "Leave out data.packing, or train the rows without images in a run of their own"
    log.append(events.Warned(code="packing_off", message=f"packing is off: {_ALONE}", fix=fix))
    data = recipe.data.model_copy(update={"packing": False})
    return recipe.model_copy(update={"data": data})


def _sequences(recipe: Recipe, prepared: Prepared) -> TokenSequences:
    if recipe.data.packing:
        return pack(prepared.rows, recipe.data.max_length, prepared.rows.sizes().tolist())
    return apart(prepared.rows)


def _sample(sampler: Sampler, recipe: Recipe, step: int) -> None:
    with _told(sampler.log):
        sampler.sample(recipe.samples, step)


def _final_answers(
    sampler: Sampler, recipe: Recipe, prepared: Prepared, step: int
) -> tuple[Figures, str | None]:
    """The figures, and who cut them short."""
    with _told(sampler.log):
        sampler.sample(recipe.samples, step)
        figures = sampler.score(recipe.score, prepared.examples) if recipe.score else Figures()
        return figures, None
    return Figures(), sampler.wishes.stopped_by


@contextmanager
def _told(log: EventLog) -> Iterator[None]:
    """Answers that fail are told, and must not cost what is trained; a stop cuts them short."""
    try:
        yield
    except Cut:
        return
    except Exception as error:
        traceback.print_exc()
        fix = "Training is as it was without them; the log has the whole story"
        log.append(events.Warned(code="sampling_failed", message=str(error), fix=fix))


def _done(
    run: RunDir, report: Report, steps: int, figures: Figures, stopped_by: str | None
) -> events.Done:
    last = report.last
    return events.Done(
        steps=steps,
        loss=last.loss if last else None,
        token_accuracy=last.token_accuracy if last else None,
        elapsed_s=last.elapsed_s if last else 0.0,
        adapter=run.adapter.name,
        stopped_by=stopped_by,
        trained_exact=figures.trained_exact,
        heldout_exact=figures.heldout_exact,
        base_exact=figures.base_exact,
    )
