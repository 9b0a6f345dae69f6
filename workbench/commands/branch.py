"""A run that goes on from another's checkpoint with a changed recipe."""

import dataclasses
import shutil
import sys
from pathlib import Path

from engine import guarded
from engine.problems import Problem, Refusal
from engine.recipe import dotted, toml_document, validate
from engine.recipe.schema import Recipe
from engine.run import checkpoint_manifest, run_folders, rundir
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.request import Parent
from engine.run.rundir import RunDir
from workbench.recipe_editor import fit_check

_FREE = {"adapter.lora_dropout"}
"""Keys of model and adapter that no saved tensor depends on."""


def branch(parent: RunDir, overrides: list[str], out: Path | None, *, anyway: bool) -> RunDir:
    """Make the run, with a copy of the newest checkpoint that is whole; its engine is to resume.

    Raises `Refusal`: exit code 2 for bad input or where there is no such checkpoint, 4 where the
    changed recipe can't fit.
    """
    checkpoint, _ = checkpoint_manifest.require_newest(parent)
    request = parent.read_request()
    recipe = _changed(parent, request.recipe, overrides)
    if 0 < recipe.training.max_steps <= checkpoint.step:
        reason = f"nothing is left to train after {checkpoint.folder.name}, from which it goes on"
        fix = f"Set training.max_steps to more than {checkpoint.step}"
        raise Refusal.of("training.max_steps", reason, fix)
    forecast = fit_check.forecast(recipe, request.hardware, anyway=anyway)
    changed = dataclasses.replace(
        request,
        recipe=recipe,
        overrides=(*request.overrides, *overrides),
        forecast=forecast.as_dict() if forecast else None,
        argv=tuple(sys.argv),
        parent=Parent(parent.name, str(parent.path.resolve()), checkpoint.step),
    )
    run = rundir.create(guarded.contents(parent.recipe), changed, out)
    _copy_checkpoint(checkpoint, run)
    run_folders.remember(run.path.parent)
    return run


def _changed(parent: RunDir, was: Recipe, overrides: list[str]) -> Recipe:
    document = was.model_dump(mode="json", exclude_none=True)
    try:
        toml_document.override(document, overrides)
    except ValueError as error:
        raise Refusal.of("--set", str(error), "Write --set training.learning_rate=2e-4") from None
    if problems := validate.problems(document):
        raise Refusal(str(parent.path), problems)
    now = Recipe.model_validate(document)
    if problems := _other_tensors(was, now):
        raise Refusal(str(parent.path), problems)
    return now


def _other_tensors(was: Recipe, now: Recipe) -> list[Problem]:
    """Name the changes that a checkpoint's weights and optimizer would not fit."""
    fix = "Leave it, or start a run of its own"
    before, after = (dotted.leaves(recipe.model_dump()) for recipe in (was, now))
    keys = [key for key in after if key.startswith(("model.", "adapter.")) and key not in _FREE]
    if (was.training.loraplus_lr_ratio == 1) != (now.training.loraplus_lr_ratio == 1):
        keys.append("training.loraplus_lr_ratio")
    return [
        Problem(key, repr(after[key]), f"the checkpoint was made with {before[key]!r}", fix)
        for key in [*keys, "training.optim"]
        if before[key] != after[key]
    ]


def _copy_checkpoint(checkpoint: Checkpoint, run: RunDir) -> None:
    """Copy it into the new run, of which nothing remains where that fails."""
    try:
        run.checkpoints.mkdir(mode=0o700)
        shutil.copytree(checkpoint.folder, run.checkpoint(checkpoint.step))
    except (OSError, shutil.Error) as error:
        run.delete()
        fix = "Free space, or try again where the run it comes from is at work"
        reason = f"its checkpoint could not be copied: {error}"
        raise Refusal.of(str(checkpoint.folder), reason, fix) from None
