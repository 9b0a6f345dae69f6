"""A training run, phase by phase: loading, data, training, sampling, saving."""

import dataclasses
import json
import math
import traceback
from importlib import metadata
from pathlib import Path
from typing import Any

from engine import diagnosis, events, installed
from engine.control import StoppedEarly, Wishes
from engine.data.batches import Sequences, apart, efficiency, pack
from engine.data.cache import folder
from engine.data.own_template import choose, difference
from engine.data.prepare import Prepared, prepare
from engine.data.rendering import Template
from engine.data.sight import Sight, sight
from engine.data.template import dialect_of
from engine.eventlog import EventLog
from engine.hardware import Profile
from engine.model import lora, tables
from engine.model.load import Loaded, load
from engine.model.tokenizer import tokenizer_and_config
from engine.placement import placed
from engine.recipe import Recipe
from engine.rundir import RunDir
from engine.train import arithmetic, sft
from engine.train.checkpoints import Checkpoints
from engine.train.guards import NotFinite
from engine.train.report import Report
from engine.train.sampling import Figures, Sampler
from engine.train.tally import Tally
from engine.train.truth import Truth

_ALONE = "there are rows with images, each of which gets a sequence of its own"
_VERSIONS = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def run_job(run: RunDir, log: EventLog, wishes: Wishes) -> None:
    """Train as the run's request says, up to its done event."""
    request = run.read_request()
    recipe = Recipe.model_validate_json(json.dumps(request["recipe"]))
    profile = Profile(**request["hardware"])

    _tell_findings(log)
    log.append(events.Phase(name="data", detail=", ".join(s.label for s in recipe.data.sources)))
    chosen, seen, prepared = _read(recipe, log)
    _stop_if_asked(wishes)
    log.append(events.Phase(name="loading", detail=recipe.model.path))
    loaded = _loaded(recipe, profile, has_towers=seen is not None)
    recipe = _with_images_apart(recipe, prepared, loaded, log)
    sequences = _sequences(recipe, prepared)
    targets = lora.adapted(loaded.model, recipe.adapter)
    model = lora.attach(loaded.model, recipe.adapter, recipe.training.seed)
    sampler = Sampler(model, loaded.tokenizer, chosen, log)
    tally = Tally()
    report = Report(
        log=log,
        wishes=wishes,
        tally=tally,
        vocab_size=loaded.vocab_size,
        save_steps=recipe.training.save_steps,
        sample_every=recipe.samples.every,
        sample=lambda step: sampler.sample(recipe.samples, step),
        truth=Truth(log, request),
    )
    checkpoints = Checkpoints(run, recipe.training.save_total_limit)

    def on_saved(written: Path, step: int) -> None:
        log.append(events.Checkpoint(step=step, path=checkpoints.publish(written, step)))

    config = sft.arguments(recipe.training, recipe.data, loaded, checkpoints.staging)
    ratio = recipe.training.loraplus_lr_ratio
    trainer = sft.trainer(model, loaded, sequences, config, report, tally, on_saved, seen, ratio)
    plan = _plan(recipe, loaded, chosen, prepared, targets, trainer)
    told = _accounts(recipe, prepared, sequences)
    run.write_plan({**request, "versions": _versions(), "plan": _plain(plan), **told})
    log.append(plan)

    log.append(events.Phase(name="training", detail=f"{plan.total_steps} steps"))
    _stop_if_asked(wishes)
    sampler.sample(recipe.samples, 0)
    try:
        trainer.train()
    except NotFinite as failed:
        report.show(failed, trainer.state)
        raise
    checkpoints.clear_staging()
    was_stopped = wishes.stopped_by is not None and trainer.state.global_step < plan.total_steps

    figures = Figures()
    if not was_stopped:
        log.append(events.Phase(name="sampling", detail="base and adapter"))
        figures = _final_answers(sampler, recipe, prepared, trainer.state.global_step)
    log.append(events.Phase(name="saving", detail=run.adapter.name))
    save_adapter(run, model)
    log.append(_done(run, report, figures, wishes.stopped_by if was_stopped else None))


def _tell_findings(log: EventLog) -> None:
    """What the doctor found wrong with these versions, where it was asked."""
    known = diagnosis.kept(installed.versions())
    for warning in known.warnings() if known else ():
        log.append(warning)


def _read(recipe: Recipe, log: EventLog) -> tuple[Template, Sight | None, Prepared]:
    """The rows as tokens by a template, and how images are seen where rows hold some."""
    tokenizer, config = tokenizer_and_config(recipe.model)
    chosen = choose(recipe.data.template, tokenizer, dialect_of(config))
    _tell_difference(log, tokenizer, chosen)
    seen = sight(recipe.model, config, tokenizer)
    prepared = prepare(recipe.data, tokenizer, chosen, folder(), sight=seen)
    return chosen, seen if prepared.rows.hold_images else None, prepared


def _loaded(recipe: Recipe, profile: Profile, *, has_towers: bool) -> Loaded:
    choice, why = placed(recipe, profile)
    settled = arithmetic.settle(recipe)
    loaded = load(choice, profile, has_towers=has_towers)
    loaded.reasons.update(settled)
    loaded.reasons.update({"per-layer embeddings": why} if why else {})
    return loaded


def _stop_if_asked(wishes: Wishes) -> None:
    wishes.poll()
    if wishes.stopped_by:
        raise StoppedEarly(f"stopped by {wishes.stopped_by} before the first step")


def _tell_difference(log: EventLog, tokenizer: Any, chosen: Template) -> None:
    found = difference(tokenizer, chosen)
    if found:
        told = f"the template trained on writes otherwise than the model's own:\n{found}"
        fix = 'data.template = "model" trains on the model\'s own'
        log.append(events.Warned(code="template_differs", message=told, fix=fix))


def _with_images_apart(recipe: Recipe, prepared: Prepared, loaded: Loaded, log: EventLog) -> Recipe:
    """The recipe without packing where rows hold images, which is told."""
    if not (recipe.data.packing and prepared.rows.hold_images):
        return recipe
    loaded.reasons["packing"] = f"off: {_ALONE}"
    fix = "Leave out data.packing, or train the rows without images in a run of their own"
    log.append(events.Warned(code="packing_off", message=f"packing is off: {_ALONE}", fix=fix))
    data = recipe.data.model_copy(update={"packing": False})
    return recipe.model_copy(update={"data": data})


def _sequences(recipe: Recipe, prepared: Prepared) -> Sequences:
    if recipe.data.packing:
        return pack(prepared.rows, recipe.data.max_length, prepared.rows.sizes().tolist())
    return apart(prepared.rows)


def _accounts(recipe: Recipe, prepared: Prepared, sequences: Sequences) -> dict[str, Any]:
    """What plan.json holds of the data beside the plan: each source, and how well rows pack."""
    told: dict[str, Any] = {"sources": [one.report() for one in prepared.sources]}
    if recipe.data.packing:
        share = efficiency(prepared.tokens, len(sequences), recipe.data.max_length)
        told["packing"] = {"sequences": len(sequences), "efficiency": round(share, 4)}
    return told


def _plan(
    recipe: Recipe,
    loaded: Loaded,
    chosen: Template,
    prepared: Prepared,
    targets: list[str],
    trainer: Any,
) -> events.Plan:
    steps, epochs = _extent(recipe, trainer)
    trainable = sum(p.numel() for p in trainer.model.parameters() if p.requires_grad)
    return events.Plan(
        model=recipe.model.path,
        device=loaded.device,
        dtype=str(loaded.dtype).removeprefix("torch."),
        parameters=trainer.model.num_parameters() + tables.parameters(trainer.model) - trainable,
        trainable_parameters=trainable,
        target_modules=tuple(targets),
        vocab_size=loaded.vocab_size,
        rows=len(prepared.rows),
        dropped=dict(prepared.dropped),
        truncated_rows=prepared.truncated_rows,
        tokens=prepared.tokens,
        supervised_tokens=prepared.supervised_tokens,
        total_steps=steps,
        epochs=epochs,
        template_hash=chosen.hash,
        data_fingerprint=prepared.fingerprint,
        reasons=loaded.reasons,
    )


def _extent(recipe: Recipe, trainer: Any) -> tuple[int, float]:
    """Optimizer steps and epochs of the run; a part of an accumulation at an epoch's end counts."""
    batches = len(trainer.get_train_dataloader())
    steps_per_epoch = math.ceil(batches / recipe.training.gradient_accumulation_steps)
    if recipe.training.max_steps > 0:
        return recipe.training.max_steps, recipe.training.max_steps / steps_per_epoch
    epochs = recipe.training.num_train_epochs
    return math.ceil(epochs * steps_per_epoch), epochs


def _final_answers(sampler: Sampler, recipe: Recipe, prepared: Prepared, step: int) -> Figures:
    """Samples and figures; a failure here is told, and must not cost the trained adapter."""
    try:
        sampler.sample(recipe.samples, step)
        if recipe.score:
            return sampler.score(recipe.score, prepared.examples)
    except Exception as error:
        traceback.print_exc()
        fix = "The adapter is saved all the same; the log has the whole story"
        sampler.log.append(events.Warned(code="sampling_failed", message=str(error), fix=fix))
    return Figures()


def save_adapter(run: RunDir, model: Any) -> None:
    """Write the adapter into the run, whole or not at all."""
    partial = run.adapter.with_name(f".{run.adapter.name}.part")
    model.save_pretrained(str(partial))
    partial.rename(run.adapter)


def _done(run: RunDir, report: Report, figures: Figures, stopped_by: str | None) -> events.Done:
    last = report.last
    return events.Done(
        steps=last.step if last else 0,
        loss=last.loss if last else None,
        token_accuracy=last.token_accuracy if last else None,
        elapsed_s=last.elapsed_s if last else 0.0,
        adapter=run.adapter.name,
        stopped_by=stopped_by,
        trained_exact=figures.trained_exact,
        heldout_exact=figures.heldout_exact,
        base_exact=figures.base_exact,
    )


def _versions() -> dict[str, str]:
    return {name: metadata.version(name) for name in _VERSIONS}


def _plain(plan: events.Plan) -> dict[str, Any]:
    stamped = dataclasses.asdict(plan)
    return {key: value for key, value in stamped.items() if key not in {"t", "time"}}
