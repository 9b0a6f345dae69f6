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
from engine.data.template import dialect_of
from engine.eventlog import EventLog
from engine.hardware import Profile
from engine.model import lora, tables
from engine.model.load import Loaded, load
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

_VERSIONS = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def run_job(run: RunDir, log: EventLog, wishes: Wishes) -> None:
    """Train as the run's request says, up to its done event."""
    request = run.read_request()
    recipe = Recipe.model_validate_json(json.dumps(request["recipe"]))
    profile = Profile(**request["hardware"])

    if known := diagnosis.kept(installed.versions()):
        for warning in known.warnings():
            log.append(warning)
    log.append(events.Phase(name="loading", detail=recipe.model.path))
    choice, why = placed(recipe, profile)
    settled = arithmetic.settle(recipe)
    loaded = load(choice, profile)
    loaded.reasons.update(settled)
    loaded.reasons.update({"per-layer embeddings": why} if why else {})
    chosen = choose(recipe.data.template, loaded.tokenizer, dialect_of(loaded.model.config))

    log.append(events.Phase(name="data", detail=", ".join(s.label for s in recipe.data.sources)))
    _stop_if_asked(wishes)
    _tell_difference(log, loaded, chosen)
    prepared = prepare(recipe.data, loaded.tokenizer, chosen, folder())
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
    trainer = sft.trainer(model, loaded, sequences, config, report, tally, on_saved, ratio)
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


def _stop_if_asked(wishes: Wishes) -> None:
    wishes.poll()
    if wishes.stopped_by:
        raise StoppedEarly(f"stopped by {wishes.stopped_by} before the first step")


def _tell_difference(log: EventLog, loaded: Loaded, chosen: Template) -> None:
    found = difference(loaded.tokenizer, chosen)
    if found:
        told = f"the template trained on writes otherwise than the model's own:\n{found}"
        fix = 'data.template = "model" trains on the model\'s own'
        log.append(events.Warned(code="template_differs", message=told, fix=fix))


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
