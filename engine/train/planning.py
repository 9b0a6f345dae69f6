"""What a run resolved to: the plan, what stands beside it, and what makes it the same run later."""

import json
from importlib import metadata
from typing import Any

import msgspec
from pydantic import ValidationError

from engine import events
from engine.data.batches import efficiency
from engine.data.encoding.rendering import Template
from engine.data.prepare import Prepared
from engine.gemma.gguf import files
from engine.model import host_embeddings
from engine.model.load import Loaded
from engine.problems import Refusal
from engine.recipe import dotted
from engine.recipe.schema import Recipe, Training
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.request import Request
from engine.run.rundir import RunDir
from engine.train import determinism
from engine.train.optimizer import warmup_steps
from engine.train.state import TrainingState, progress_of

_MOVED_EPOCHS = 0.01
_WEIGHTS = "weights of model.path"
_VERSIONS = ("torch", "transformers", "trl", "peft", "bitsandbytes", "datasets", "accelerate")


def accounts(recipe: Recipe, prepared: Prepared, num_sequences: int) -> dict[str, Any]:
    """What plan.json holds of the data beside the plan: each source, and how well rows pack."""
    facts: dict[str, Any] = {"sources": msgspec.to_builtins(prepared.sources)}
    if prepared.heldout_report:
        facts["heldout"] = msgspec.to_builtins(prepared.heldout_report)
    if recipe.data.packing:
        share = efficiency(prepared.tokens, num_sequences, recipe.data.max_length)
        facts["packing"] = {"sequences": num_sequences, "efficiency": round(share, 4)}
    return facts


def plan(
    recipe: Recipe,
    loaded: Loaded,
    template: Template,
    prepared: Prepared,
    targets: list[str],
    state: TrainingState,
    metrics: tuple[events.Metric, ...],
) -> events.Plan:
    """Everything that is settled before the first step."""
    model = state.model
    trainable = sum(p.numel() for p in model.parameters() if p.requires_grad)
    return events.Plan(
        model=recipe.model.path,
        device=loaded.device,
        dtype=str(loaded.dtype).removeprefix("torch."),
        parameters=model.num_parameters() + host_embeddings.table_parameters(model) - trainable,
        trainable_parameters=trainable,
        target_modules=tuple(targets),
        vocab_size=loaded.vocab_size,
        rows=len(prepared.rows),
        dropped=dict(prepared.dropped),
        truncated_rows=prepared.truncated_rows,
        tokens=prepared.tokens,
        supervised_tokens=prepared.supervised_tokens,
        total_steps=state.total_steps,
        epochs=state.epochs,
        template_hash=template.hash,
        data_fingerprint=prepared.fingerprint,
        reasons=loaded.reasons,
        metrics=metrics,
    )


def document(plan: events.Plan) -> dict[str, Any]:
    """The plan as plan.json holds it, and the packages that a run's figures depend on."""
    plain = msgspec.to_builtins(plan)
    return {
        "versions": {name: metadata.version(name) for name in _VERSIONS},
        "plan": {key: value for key, value in plain.items() if key not in {"kind", "t", "time"}},
    }


def facts(
    recipe: Recipe, training: Training, template: Template, prepared: Prepared, device: str
) -> dict[str, Any]:
    """What a checkpoint stands for: with any of it changed, going on would be another run.

    `training` is as the request has it; memory may have allowed the recipe less at a time.
    """
    path = recipe.model.path
    return {
        "recipe": recipe.model_copy(update={"training": training}).model_dump(mode="json"),
        "template_hash": template.hash,
        "data_fingerprint": prepared.fingerprint,
        "arithmetic": determinism.last_bits(device),
        **({_WEIGHTS: files.files_of(path).content()} if files.is_gguf(path) else {}),
    }


def parent(request: Request, start: Checkpoint) -> str | None:
    """Name of the run that a checkpoint was copied from; None of a run's own."""
    is_copied = request.parent and request.parent.step == start.step
    return request.parent.run if request.parent and is_copied else None


def require_same(
    run: RunDir, request: Request, now: dict[str, Any], start: Checkpoint | None
) -> None:
    """Raises `Refusal` that names what is no longer as it was when a checkpoint was written.

    Another run's may be gone on from with anything changed that its tensors don't depend on.
    """
    if start is None or parent(request, start):
        return
    before, today = dotted.leaves(_of_today(start.facts)), dotted.leaves(now)
    changed = [
        f"{key}: {before.get(key)!r} became {today.get(key)!r}"
        for key in sorted({*before, *today})
        if before.get(key) != today.get(key)
        and key != "arithmetic"
        # Checkpoints of earlier versions don't know it.
        and not (key == _WEIGHTS and key not in before)
    ]
    if changed:
        reason = f"it is not the run that wrote {start.folder.name} any more: " + "; ".join(changed)
        fix = "Undo the change, or begin another run there: gemma-bench resume RUN --branch"
        raise Refusal.of(str(run.path), reason, fix)


def _of_today(facts: dict[str, Any]) -> dict[str, Any]:
    """With keys that came to recipes since, as they are where nothing is said."""
    try:
        recipe = Recipe.model_validate_json(json.dumps(facts["recipe"]))
    except (KeyError, ValidationError):
        return facts
    return {**facts, "recipe": recipe.model_dump(mode="json")}


def position(start: Checkpoint, plan: events.Plan) -> events.Warned | None:
    """What changed batches or rows mean for where a branch goes on: a warning where they moved it.

    Raises `Refusal` where nothing would be left to train.
    """
    if start.step >= plan.total_steps:
        reason = f"step {start.step} is behind the end of what it became: {plan.total_steps} steps"
        fix = "Raise training.num_train_epochs or training.max_steps"
        raise Refusal.of(start.folder.name, reason, fix)
    was = progress_of(start.folder).epoch
    now = start.step * plan.epochs / plan.total_steps
    if abs(was - now) <= _MOVED_EPOCHS:
        return None
    return events.Warned(
        code="position_moved",
        message=f"the checkpoint was at epoch {was:.2f}; with as many rows in a step as now, its "
        f"{start.step} steps are {now:.2f} epochs, from where it goes on",
        fix="Rows in between come twice or not in that epoch; keep the batch to avoid it",
    )


def endless_warmup(training: Training, total_steps: int) -> events.Warned | None:
    """Warn of a warm-up that the run ends within; a run of one step is told of its zero adapter."""
    warmup = warmup_steps(training, total_steps)
    if training.lr_scheduler_type == "constant" or not warmup >= total_steps > 1:
        return None
    return events.Warned(
        code="warmup_is_all",
        message=f"the warm-up of {warmup} steps is all of the run's {total_steps}: its learning "
        f"rate never comes to {training.learning_rate:g}",
        fix="Set training.warmup_steps to less, or to a share such as 0.03",
    )


def at_the_end_only(recipe: Recipe, total_steps: int) -> dict[str, str]:
    """What a recipe wants every so many steps, and the run has too few of."""
    schedules = (
        ("checkpoints", recipe.training.save_steps, "at the end"),
        ("samples", recipe.samples.every, "before training and at the end"),
    )
    return {
        what: f"{when} only: one every {every} steps is wanted, and the run has {total_steps}"
        for what, every, when in schedules
        if every > total_steps
    }
