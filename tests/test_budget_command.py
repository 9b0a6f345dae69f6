"""`gemma-bench budget` and the refusal of what can't fit, as users meet them."""

import json
from pathlib import Path
from typing import Any

import pytest

from engine.gemma import catalog
from engine.hardware import profiles
from engine.recipe import files
from tests.command import call

E2B = "gemma4-e2b-lora-sft-korean"


def told(cwd: Path, *arguments: str) -> tuple[int, dict[str, Any]]:
    code, out, err = call(cwd, "budget", *arguments, "--json")
    assert err == ""
    return code, json.loads(out)


def test_json_has_every_figure(tmp_path: Path) -> None:
    code, found = told(tmp_path, "quickstart", "--hardware", "cpu")
    assert code == 0
    assert found["source"] == "ledger"
    for name in ("allocated_gib", "reserved_gib", "device_gib"):
        band = found[name]
        assert 0 < band["low"] <= band["expected"] <= band["high"]
    assert found["host_gib"] > found["allocated_gib"]["expected"]
    assert found["disk_gib"] > 0
    assert found["peak_moment"]
    assert {"part", "gib", "why"} == set(found["rows"][0])
    assert found["fits"] is True
    assert found["seconds"] > 0
    assert all({"set", "saves_gib", "costs"} <= set(made) for made in found["suggestions"])


def test_a_card_that_is_too_small_is_exit_4_with_what_would_help(tmp_path: Path) -> None:
    on_card = ("--set", "model.host_tables=false")
    code, out, _ = call(tmp_path, "budget", E2B, "--hardware", "rtx-3060-8gb", *on_card)
    assert code == 4
    assert "it doesn't fit" in out
    assert "--set model.quantization=nf4" in out
    assert "--set model.host_tables=true" in out
    assert "per-layer embeddings     4.38 GiB" in out


def test_tables_go_to_the_host_where_nothing_else_fits(tmp_path: Path) -> None:
    small, large = (
        call(tmp_path, "budget", E2B, "--hardware", name) for name in ("rtx-3060-8gb", "rtx-4090")
    )
    assert (small[0], large[0]) == (0, 0)
    assert "per-layer embeddings in host memory: 4.38 GiB" in small[1]
    assert "in host memory" not in large[1]


def test_a_suggestion_can_be_typed_as_it_is_printed(tmp_path: Path) -> None:
    code, found = told(
        tmp_path, E2B, "--hardware", "rtx-3060-12gb", "--set", "data.max_length=16384"
    )
    assert code == 4
    made = next(made for made in found["suggestions"] if made["fits"])
    options = [
        part
        for key, value in made["set"].items()
        for part in ("--set", f"{key}={json.dumps(value)}")
    ]
    code, after = told(
        tmp_path, E2B, "--hardware", "rtx-3060-12gb", "--set", "data.max_length=16384", *options
    )
    assert code == 0
    saved = found["device_gib"]["expected"] - after["device_gib"]["expected"]
    assert saved == pytest.approx(made["saves_gib"], abs=0.002)


def test_a_table_of_every_card(tmp_path: Path) -> None:
    on_card = ("--set", "model.host_tables=false")
    code, out, _ = call(tmp_path, "budget", E2B, "--hardware", "all", *on_card)
    assert code == 0
    head, _, row = out.splitlines()
    cards = [name for name in profiles.names() if name not in {"auto", "cpu"}]
    assert [cell.strip() for cell in head.strip("|").split("|")] == ["", *cards]
    verdicts = dict(zip(cards, [c.strip() for c in row.strip("|").split("|")][1:], strict=True))
    assert verdicts["rtx-3060-8gb"].startswith("no ")
    assert verdicts["h200"].startswith("fits ")


def test_a_table_of_every_variant(tmp_path: Path) -> None:
    code, found = told(tmp_path, E2B, "--hardware", "rtx-4090,apple-m", "--variants")
    assert code == 0
    assert len(found) == 2 * len(catalog.names())
    verdicts = {name: cards["rtx-4090"]["verdict"] for name, cards in found.items()}
    assert verdicts["gemma-3-27b 16-bit"] == "no"
    assert verdicts["gemma-3-27b NF4"] == "fits"
    assert verdicts["gemma-4-26B-A4B 16-bit"] == "no"
    assert verdicts["gemma-4-26B-A4B NF4"] == "fits", "its experts are in 4 bits too"
    assert found["gemma-3-1b NF4"]["apple-m"]["verdict"] is None, (
        "bitsandbytes has no kernels there"
    )


def test_a_table_of_every_recipe_where_it_fits(tmp_path: Path) -> None:
    code, found = told(tmp_path, "all")
    assert code == 0
    assert list(found) == [name for name in files.names() if files.hardware_of(name)]
    of_frames = found["gemma4-e4b-lora-sft-frames"]
    assert (of_frames["hardware"], of_frames["verdict"]) == ("rtx-4090", "fits")
    assert (of_frames["batch"], of_frames["max_length"]) == (1, 2048)
    assert 0 < of_frames["device_gib"] <= of_frames["usable_gib"]
    assert found[E2B]["trained"] == 24_158_208
    code, out, _ = call(tmp_path, "budget", "all")
    rows = [line.strip("|").split("|")[0].strip() for line in out.splitlines()]
    assert (code, rows[2:]) == (0, list(found))


def test_a_table_of_every_recipe_on_other_cards(tmp_path: Path) -> None:
    code, found = told(tmp_path, "all", "--hardware", "rtx-3060-8gb", "--set", "adapter.r=64")
    assert code == 0
    assert found["gemma3-1b-lora-sft"]["rtx-3060-8gb"]["verdict"] == "fits"
    assert found["gemma4-31b-qlora-sft"]["rtx-3060-8gb"]["verdict"] == "no"


def test_price_and_steps_give_a_cost(tmp_path: Path) -> None:
    arguments = [E2B, "--hardware", "rtx-4090", "--set", "training.max_steps=1000"]
    _, found = told(tmp_path, *arguments, "--price", "0.5")
    assert found["hours"] == pytest.approx(1000 * found["step_s"] / 3600, rel=0.05)
    assert found["cost"] == pytest.approx(found["hours"] * 0.5, abs=0.006)


@pytest.mark.parametrize("amount", ["nan", "-5", "inf", "1e400", "cheap"])
def test_what_is_no_price_is_refused(tmp_path: Path, amount: str) -> None:
    code, out, err = call(tmp_path, "budget", "quickstart", f"--price={amount}")
    assert (code, out) == (2, "")
    assert err.endswith(f"argument --price: '{amount}' is no price\n")


@pytest.mark.parametrize(
    ("arguments", "reason"),
    [
        (["nothing"], "there is no such recipe"),
        (["quickstart", "--hardware", "nothing"], "there is no profile"),
        (["quickstart", "--set", "model.path=somebody/else"], "no Gemma whose shape is known"),
    ],
)
def test_bad_input_is_one_message(tmp_path: Path, arguments: list[str], reason: str) -> None:
    code, out, err = call(tmp_path, "budget", *arguments)
    assert (code, out) == (2, "")
    assert reason in err
    assert "Traceback" not in err


LARGE = [
    "--set", "data.max_length=500000",
    "--set", "training.per_device_train_batch_size=64",
    "--set", "training.gradient_checkpointing=false",
]  # fmt: skip


def test_a_run_that_cannot_fit_is_refused(tmp_path: Path) -> None:
    code, _, err = call(tmp_path, "--run", "quickstart", "--hardware", "cpu", *LARGE)
    assert code == 4
    assert "it doesn't fit" in err
    assert "--anyway" in err
    assert list(tmp_path.iterdir()) == []


def test_a_run_starts_anyway_where_it_is_told_to(tmp_path: Path) -> None:
    """Its rows are short, so that it really runs: the forecast is of the longest it may have."""
    code, _, err = call(
        tmp_path, "--run", "quickstart", "--hardware", "cpu", *LARGE, "--anyway",
        "--set", "training.per_device_train_batch_size=4096", "--set", "training.max_steps=1",
        "--out", "run", "--detach",
    )  # fmt: skip
    assert code == 0, err
    request = json.loads((tmp_path / "run" / "request.json").read_text())
    assert request["forecast"]["fits"] is False
    assert call(tmp_path, "stop", "run")[0] in {0, 2}


def test_the_forecast_goes_with_the_run(tmp_path: Path) -> None:
    arguments = ["--set", "training.max_steps=2", "--set", "samples.prompts=[]", "--out", "run"]
    code, _, err = call(tmp_path, "--run", "quickstart", "--hardware", "cpu", *arguments)
    assert code == 0, err
    request = json.loads((tmp_path / "run" / "request.json").read_text())
    assert request["forecast"]["source"] == "ledger"
    events = [json.loads(line) for line in (tmp_path / "run" / "events.jsonl").open()]
    memory = next(event for event in events if event["kind"] == "memory")
    assert memory["source"] == "ledger"
    assert memory["forecast_allocated_gib"] == request["forecast"]["allocated_gib"]["expected"]
    assert memory["rss_gib"] > 0
