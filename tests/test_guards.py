"""The first loss of a run is held against what a mean per token can be."""

import shutil
from pathlib import Path

import pytest
from safetensors.torch import load_file, save_file

from engine.paths import EMBEDDED_WEIGHTS
from engine.run.rundir import RunDir
from engine.train.hooks.loss_warnings import sanity
from tests import command

REAL_VOCABULARY = 262_144


@pytest.mark.parametrize(
    ("loss", "accuracy", "accumulation_steps", "code"),
    [
        (1.55, 0.66, 8, None),
        (8 * 1.55, 0.66, 8, "loss_not_a_mean"),
        (8 * 1.81, 0.60, 8, "forward_broken"),
        (4.30, 0.66, 8, "loss_not_a_mean"),
        (4.20, 0.66, 8, None),
        (4.30, 0.66, 1, None),
        (4.30, 0.66, 18, "loss_not_a_mean"),
        (4.30, 0.66, 19, None),
        (9.00, 0.30, 64, None),
        (64 * 1.55, 0.66, 64, "forward_broken"),
        (12.40, 0.00, 1, None),
        (12.50, 0.00, 1, "forward_broken"),
    ],
)
def test_a_first_loss_that_can_not_be_a_mean_is_told(
    loss: float, accuracy: float, accumulation_steps: int, code: str | None
) -> None:
    """ln(262144) = 12.48; of that, the 34 % that were wrong may cost 4.24.

    They cost 0.24 at least (ln 2 each), so 4.30 is no sum over 19 steps or more.
    """
    warning = sanity(loss, accuracy, REAL_VOCABULARY, accumulation_steps)
    assert (warning and warning.code) == code
    if warning and accumulation_steps > 1:
        assert f"a sum over {accumulation_steps} accumulation steps" in warning.fix


def test_a_run_of_a_broken_model_is_warned_of(tmp_path: Path) -> None:
    """Its last norm is thirty times too strong: sure of nothing but nonsense."""
    broken = tmp_path / "broken"
    shutil.copytree(EMBEDDED_WEIGHTS, broken)
    weights = load_file(broken / "model.safetensors")
    weights["model.norm.weight"] = -weights["model.norm.weight"] * 30
    save_file(weights, broken / "model.safetensors", metadata={"format": "pt"})
    model = ("--set", f"model.path={broken}", "--set", "training.max_steps=2")
    code, out, err = command.call(tmp_path, "--run", "quickstart", "--out", "run", *model)
    assert code == 0, err
    warnings = [r for r in command.records(RunDir(tmp_path / "run")) if r["kind"] == "warning"]
    assert [warning["code"] for warning in warnings] == ["forward_broken"]
    assert "worse than a uniform guess" in out
