"""A whole run by the command line: events, files, figures, and an adapter that others can load."""

import json
import re
from pathlib import Path
from typing import Any

import jsonschema
import pytest
import torch

from engine import events
from engine.data.conversation import Turn
from engine.data.encoding.template import template
from engine.model.answers.generate import answer
from engine.run.rundir import RunDir
from tests import command, tiny

METRICS = {"loss", "token_accuracy", "learning_rate", "grad_norm", "rss_gib", "data_wait_s"}
"""Of a run on a CPU."""
STEP = {
    "step", "epoch", "tokens", "supervised_tokens", "tokens_per_s", "elapsed_s", "metrics",
}  # fmt: skip
STAMP = {"kind", "t", "time"}


@pytest.fixture(scope="module")
def finished(
    module_starts_anew: None, tmp_path_factory: pytest.TempPathFactory
) -> tuple[RunDir, list[dict[str, Any]]]:
    """A run of six steps, and the events that --json printed."""
    folder = tmp_path_factory.mktemp("finished")
    code, out, err = command.call(
        folder, "--run", "quickstart", "--json", "--out", "run", *command.SHORT,
        "--set", "training.deterministic=true",
    )  # fmt: skip
    assert code == 0, err
    return RunDir(folder / "run"), [json.loads(line) for line in out.splitlines()]


def of(kind: str, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [record for record in records if record["kind"] == kind]


def test_stdout_is_the_event_file(finished: tuple[RunDir, list[dict[str, Any]]]) -> None:
    run, printed = finished
    assert printed == command.records(run)


def test_every_event_is_as_the_published_schema_says(
    finished: tuple[RunDir, list[dict[str, Any]]],
) -> None:
    schema = json.loads((Path(__file__).parents[1] / "docs/events.schema.json").read_text())
    validator = jsonschema.Draft202012Validator(schema)
    for record in finished[1]:
        validator.validate(record)


def test_events_come_in_order(finished: tuple[RunDir, list[dict[str, Any]]]) -> None:
    _, printed = finished
    assert printed[0]["kind"] == "hello"
    assert printed[-1]["kind"] == "done"
    phases = [record["name"] for record in of("phase", printed)]
    assert phases == ["data", "loading", "training", "saving", "sampling"]
    assert [record["step"] for record in of("step", printed)] == [1, 2, 3, 4, 5, 6]
    times = [record["t"] for record in printed]
    assert times == sorted(times)
    assert {record["step"] for record in of("sample", printed)} == {0, 2, 4, 6}
    assert [record["step"] for record in of("checkpoint", printed)] == [3, 6]


def test_names_are_the_contract(finished: tuple[RunDir, list[dict[str, Any]]]) -> None:
    _, printed = finished
    assert all(set(step) == STEP | STAMP for step in of("step", printed))
    assert all(set(step["metrics"]) == METRICS for step in of("step", printed))
    assert all(
        set(sample) == {"step", "prompt", "base", "adapter"} | STAMP
        for sample in of("sample", printed)
    )
    assert set(printed[-1]) == STAMP | {
        "steps", "loss", "token_accuracy", "elapsed_s", "adapter",
        "trained_exact", "heldout_exact", "base_exact", "general_kept", "general_known",
    }  # fmt: skip


def test_counts_are_those_of_the_data(finished: tuple[RunDir, list[dict[str, Any]]]) -> None:
    _, printed = finished
    (plan,) = of("plan", printed)
    assert plan["rows"] == 4 * 255 + 2000
    assert plan["dropped"] == {}
    assert plan["total_steps"] == 6
    assert 0 < plan["supervised_tokens"] < plan["tokens"]
    last = of("step", printed)[-1]
    share = last["epoch"]
    assert last["tokens"] == pytest.approx(plan["tokens"] * share, rel=0.1)
    assert last["supervised_tokens"] == pytest.approx(plan["supervised_tokens"] * share, rel=0.1)
    full = 6 * 4 * 128
    assert 0.8 * full < last["tokens"] <= full


def test_the_directory_holds_the_run(finished: tuple[RunDir, list[dict[str, Any]]]) -> None:
    run, _ = finished
    recipe = Path(__file__).parents[1] / "recipes/quickstart.toml"
    assert run.recipe.read_bytes() == recipe.read_bytes()
    plan = json.loads(run.plan.read_text())
    assert plan["recipe"]["training"]["max_steps"] == 6
    assert plan["versions"].keys() >= {"torch", "transformers", "trl", "peft"}
    assert plan["plan"]["target_modules"]
    why = plan["plan"]["reasons"]
    assert why["algorithms"] == "deterministic algorithms only: asked for by the recipe"
    assert why["TF32"].startswith("off")
    assert why["seeds"].startswith("adapter and dropout 0, order 0")
    source, general = plan["sources"]
    assert (general["name"], general["taken"], general["dropped"]) == ("general.jsonl", 2000, {})
    assert (source["name"], source["format"]) == ("kushan.jsonl", "sharegpt")
    assert (source["asked"], source["taken"], source["dropped"]) == (255, 255, {})
    assert source["tokens"]["p50"] <= source["tokens"]["p95"] <= source["tokens"]["max"] < 128
    command.wait(run.ending.exists, 10)
    ending = json.loads(run.ending.read_text())
    assert (ending["exit"], ending["signal"]) == (0, None)
    assert ending["max_rss_kib"] < 2.5 * 2**20
    assert sorted(path.name for path in run.checkpoints.iterdir()) == ["step-000003", "step-000006"]
    assert run.path.stat().st_mode & 0o077 == 0


def test_the_adapter_answers_elsewhere_as_it_did_in_the_run(
    finished: tuple[RunDir, list[dict[str, Any]]],
) -> None:
    from peft import PeftModel

    run, printed = finished
    gemma = tiny.loaded(
        Path(
            json.loads((run.adapter / "adapter_config.json").read_text())["base_model_name_or_path"]
        )
    )
    adapted = PeftModel.from_pretrained(gemma.model, str(run.path / printed[-1]["adapter"]))
    weights = [p for n, p in adapted.named_parameters() if "lora_B" in n]
    assert all(torch.count_nonzero(weight) for weight in weights)
    for sample in of("sample", printed)[-2:]:
        asked = [(Turn("user", sample["prompt"]),)]
        told = answer(adapted, gemma.tokenizer, template("gemma4"), asked, 8)
        assert told == [sample["adapter"]]
        told = answer(adapted, gemma.tokenizer, template("gemma4"), asked, 8, as_base=True)
        assert told == [sample["base"]]


def test_a_late_viewer_sees_the_whole_run(
    finished: tuple[RunDir, list[dict[str, Any]]],
) -> None:
    run, printed = finished
    code, out, _ = command.call(run.path.parent, "attach", "run", "--json")
    assert code == 0
    assert [json.loads(line) for line in out.splitlines()] == printed
    code, out, _ = command.call(run.path.parent, "attach", "run")
    assert code == 0
    assert re.search(r"held-out wordings [\d.]+ %", out)
    assert str(Path("run") / "adapter") in out


def test_decoding_what_was_written_gives_every_event(
    finished: tuple[RunDir, list[dict[str, Any]]],
) -> None:
    run, printed = finished
    decoded = [events.decode(line) for line in run.events.read_bytes().splitlines()]
    assert [event.kind for event in decoded if event] == [record["kind"] for record in printed]
