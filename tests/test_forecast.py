"""The numbers that a user decides by, from recipe and card to the figure itself.

Every table holds literals: what is forecast may change, but never unseen.
"""

from dataclasses import replace
from pathlib import Path

import pytest

from engine.budget import throughput
from engine.budget.forecast import Band, Budget
from engine.budget.placement import RecipeForecast, forecast_recipe, placed_model
from engine.budget.suggestions import Largest, largest, suggestions
from engine.hardware import profiles
from engine.recipe import validate

SMALLER_BATCH = "training.per_device_train_batch_size training.gradient_accumulation_steps"


@pytest.fixture(autouse=True)
def no_calibration(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))


def forecast_of(recipe: str, card: str, *overrides: str) -> RecipeForecast:
    loaded, _ = validate.load(recipe, list(overrides), on_paper=True)
    return forecast_recipe(loaded, profiles.profile(card))


@pytest.mark.parametrize(
    ("device", "usable_gib", "host_gib", "verdict"),
    [
        (Band(5.0, 6.0, 7.0), 7.0, 8.0, "fits"),
        (Band(5.0, 6.0, 7.001), 7.0, 8.0, "tight"),
        (Band(5.0, 7.0, 8.0), 7.0, 8.0, "tight"),
        (Band(5.0, 7.001, 8.0), 7.0, 8.0, "no"),
        (Band(5.0, 6.0, 7.0), 7.0, 8.001, "no"),
    ],
)
def test_a_verdict_at_its_edges(
    device: Band, usable_gib: float, host_gib: float, verdict: str
) -> None:
    budget = Budget(
        allocated=device, reserved=device, device=device, usable_gib=usable_gib,
        host_gib=host_gib, host_usable_gib=8.0, disk_gib=0.0, peak_moment="", rows=(),
    )  # fmt: skip
    assert (budget.verdict, budget.fits) == (verdict, verdict != "no")


@pytest.mark.parametrize(
    ("recipe", "card", "verdict", "allocated", "reserved", "device"),
    [
        ("gemma3-270m-lora-sft", "rtx-3060-8gb", "fits", 1.271, (1.348, 1.493), (1.748, 2.093)),
        ("gemma3-4b-qlora-sft", "rtx-3060-8gb", "fits", 4.603, (4.770, 5.104), (5.170, 5.704)),
        ("gemma3-4b-lora-sft", "rtx-4090", "fits", 8.552, (8.647, 8.897), (9.047, 9.497)),
        ("gemma3-12b-qlora-sft", "rtx-3060-12gb", "fits", 8.409, (8.490, 8.714), (8.890, 9.314)),
        ("gemma4-e2b-qlora-sft", "rtx-3060-8gb", "fits", 3.372, (3.532, 3.843), (3.932, 4.443)),
        ("gemma4-e4b-lora-sft", "t4", "no", 31.851, (32.238, 33.224), (32.538, 33.674)),
        ("gemma4-26b-a4b-qlora-sft", "rtx-4090", "fits",
         16.158, (16.467, 17.162), (16.867, 17.762)),
        ("gemma4-31b-qlora-sft", "rtx-5090", "fits", 19.254, (19.402, 19.851), (19.902, 20.601)),
        ("gemma3-1b-lora-sft", "apple-m", "fits", 3.879, (4.080, 4.465), (4.080, 4.465)),
    ],
)  # fmt: skip
def test_what_a_device_needs_in_gib(
    recipe: str,
    card: str,
    verdict: str,
    allocated: float,
    reserved: tuple[float, float],
    device: tuple[float, float],
) -> None:
    """Reserved and of the device: likely, and at most."""
    budget = forecast_of(recipe, card).budget
    assert budget.verdict == verdict
    assert budget.allocated.expected == allocated
    assert (budget.reserved.expected, budget.reserved.high) == reserved
    assert (budget.device.expected, budget.device.high) == device


@pytest.mark.parametrize(
    ("recipe", "card", "host_gib", "tables_gib", "disk_gib"),
    [
        ("gemma3-4b-lora-sft", "rtx-4090", 2.5, 0.0, 0.777),
        ("gemma4-e2b-qlora-sft", "rtx-3060-8gb", 6.875, 4.375, 0.361),
        ("gemma4-31b-qlora-sft", "rtx-5090", 2.5, 0.0, 1.831),
        ("gemma3-1b-lora-sft", "apple-m", 5.379, 0.0, 0.34),
    ],
)
def test_what_host_and_disk_need_in_gib(
    recipe: str, card: str, host_gib: float, tables_gib: float, disk_gib: float
) -> None:
    budget = forecast_of(recipe, card).budget
    assert (budget.host_gib, budget.tables_on_host_gib, budget.disk_gib) == (
        host_gib,
        tables_gib,
        disk_gib,
    )


@pytest.mark.parametrize(
    ("recipe", "card", "overrides", "step_s", "tokens_per_s", "hours_of_1000"),
    [
        ("gemma3-270m-lora-sft", "rtx-3060-8gb", [], 2.771, 5913, 0.77),
        ("gemma3-4b-lora-sft", "rtx-4090", [], 6.095, 2688, 1.693),
        (
            "gemma3-4b-lora-sft",
            "rtx-4090",
            ["training.gradient_checkpointing=false"],
            4.396,
            3727,
            1.221,
        ),
        ("gemma3-12b-qlora-sft", "rtx-3060-12gb", [], 125.566, 130, 34.88),
        ("gemma4-26b-a4b-qlora-sft", "rtx-4090", [], 7.969, 2056, 2.214),
        ("gemma3-1b-lora-sft", "apple-m", [], 29.729, 551, 8.258),
    ],
)
def test_how_long_a_step_takes(
    recipe: str,
    card: str,
    overrides: list[str],
    step_s: float,
    tokens_per_s: int,
    hours_of_1000: float,
) -> None:
    found = forecast_of(recipe, card, *overrides)
    accumulation = found.recipe.training.gradient_accumulation_steps
    pace = throughput.estimate(found.gemma, found.step, found.profile, accumulation)
    assert pace is not None
    assert round(pace.step_s, 3) == step_s
    assert round(pace.tokens_per_s) == tokens_per_s
    assert round(pace.hours(1000), 3) == hours_of_1000


@pytest.mark.parametrize(("card", "times"), [("t4", 8), ("a100-80gb", 16), ("rtx-3090", 2)])
def test_float32_takes_longer_on_a_card(card: str, times: int) -> None:
    """Where nothing but arithmetic counts; a T4 computes in float32 in any case."""
    found = forecast_of("gemma3-1b-lora-sft", card, "model.dtype=float32")
    profile = replace(found.profile, bandwidth_gb_s=1e9)
    short = replace(found.step, dtype="float16")
    in_float32, in_float16 = (
        throughput.estimate(found.gemma, step, profile, 1) for step in (found.step, short)
    )
    assert in_float32
    assert in_float16
    assert in_float32.step_s / in_float16.step_s == pytest.approx(times, rel=0.01)


def test_a_device_of_unknown_speed_has_no_time() -> None:
    found = forecast_of("gemma3-1b-lora-sft", "rtx-4090")
    unknown = replace(found.profile, tflops=None)
    assert throughput.estimate(found.gemma, found.step, unknown, 1) is None


@pytest.mark.parametrize(
    ("recipe", "card", "overrides", "offers"),
    [
        (
            "gemma3-4b-lora-sft", "rtx-3060-8gb", [],
            [("model.quantization", 4.55, True), ("model.path", 6.11, True),
             ("data.max_length", 0.49, False), (SMALLER_BATCH, 0.48, False),
             ("adapter.target_modules", 0.45, False), ("adapter.r", 0.22, False),
             ("training.optim", 0.17, False)],
        ),
        (
            "gemma4-e2b-lora-sft-korean", "rtx-3060-8gb", ["model.host_tables=false"],
            [("model.host_tables", 4.38, True), ("model.quantization", 2.6, True),
             ("adapter.target_modules", 0.34, False), ("adapter.r", 0.18, False),
             ("training.optim", 0.13, False), ("data.max_length", 0.13, False)],
        ),
        (
            "gemma3-4b-lora-sft", "rtx-3060-8gb", ["training.gradient_checkpointing=false"],
            [("training.gradient_checkpointing model.quantization", 16.99, True),
             ("model.path", 13.35, False), ("training.gradient_checkpointing", 12.44, False),
             ("data.max_length", 6.86, False), (SMALLER_BATCH, 6.67, False),
             ("model.quantization", 5.84, False), ("adapter.target_modules", 2.57, False),
             ("adapter.r", 0.26, False), ("training.optim", 0.17, False)],
        ),
    ],
)  # fmt: skip
def test_suggestions_in_their_order(
    recipe: str, card: str, overrides: list[str], offers: list[tuple[str, float, bool]]
) -> None:
    """Keys with what they save in GiB, and whether it fits then."""
    made = suggestions(forecast_of(recipe, card, *overrides))
    assert [
        (" ".join(each.changes), round(each.saves_gib, 2), each.budget.fits) for each in made
    ] == offers


def test_of_several_changes_those_that_turned_out_needless_go() -> None:
    """Smaller batches were tried too, and are not needed once weights are in 4 bits."""
    first = suggestions(forecast_of("gemma4-12b-lora-sft", "rtx-3060-12gb"))[0]
    assert first.changes == {"training.optim": "adamw_8bit", "model.quantization": "nf4"}


@pytest.mark.parametrize(
    ("recipe", "card", "most"),
    [
        ("gemma3-4b-qlora-sft", "rtx-3060-8gb", Largest(2432, 9)),
        ("gemma3-12b-qlora-sft", "rtx-3060-12gb", Largest(4416, 4)),
        ("gemma4-31b-lora-sft", "rtx-4090", Largest(0, 0)),
    ],
)
def test_the_longest_rows_and_the_largest_batch(recipe: str, card: str, most: Largest) -> None:
    assert largest(forecast_of(recipe, card)) == most


@pytest.mark.parametrize(
    ("card", "why"),
    [
        ("rtx-3060-8gb", "in host memory: the step needs 9.7 GiB with them on the device and "
         "5.3 GiB without, of 7.6 usable"),
        ("rtx-4090", "on the device: the step needs 9.7 GiB with them on the device and 5.3 GiB "
         "without, of 22.8 usable"),
    ],
)  # fmt: skip
def test_where_tables_are_placed(card: str, why: str) -> None:
    recipe, _ = validate.load("gemma4-e2b-lora-sft-korean", [], on_paper=True)
    model, reason = placed_model(recipe, profiles.profile(card))
    assert (model.host_tables, reason) == (why.startswith("in host"), why)
