"""Whole runs on rows with images, and those that are refused before they start."""

import gzip
import json
from pathlib import Path

import pytest
from PIL import Image

from engine.doctor.golden import seeing_models as seers
from engine.recipe import image_rows, validate
from engine.run.rundir import RunDir
from tests import command

ROWS = [
    {
        "messages": [
            {"role": "user", "content": f"<image>What is in picture {number}?"},
            {"role": "assistant", "content": f"A thing, by number {number}."},
        ],
        "images": [f"{number % 2}.jpg"],
    }
    for number in range(4)
]


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    """A file of rows with images beside it, and of some with words alone."""
    for number, size in enumerate(((120, 60), (70, 90))):
        Image.new("RGB", size, (200, number, 0)).save(tmp_path / f"{number}.jpg")
    said = [{"role": "user", "content": "Hello?"}, {"role": "assistant", "content": "Hello."}]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in [*ROWS, {"messages": said}]))
    return path


def test_a_run_packs_no_images_and_says_what_was_not_foreseen(rows: Path, tmp_path: Path) -> None:
    """A compressed file's head is not looked into before the run."""
    (tmp_path / "rows.jsonl.gz").write_bytes(gzip.compress(rows.read_bytes()))
    folder = seers.build("gemma4", tmp_path / "model")
    (tmp_path / "see.toml").write_text(
        f"""
        model = {{ path = "{folder}", host_tables = true }}
        adapter.r = 4
        data = {{ sources = [{{ path = "rows.jsonl.gz" }}], packing = true }}
        training = {{ max_steps = 3, per_device_train_batch_size = 2 }}
        samples = {{ prompts = ["Hello?"], max_new_tokens = 4 }}
        """
    )
    code, _, err = command.call(tmp_path, "--run", "see.toml", "--out", "run")
    assert code == 0, err
    records = command.records(RunDir(tmp_path / "run"))
    told = {record["kind"]: record for record in records}
    alone = "there are rows with images, each of which gets a sequence of its own"
    assert told["plan"]["reasons"]["packing"] == f"off: {alone}"
    assert (told["plan"]["rows"], told["plan"]["dropped"]) == (5, {})
    assert all("language_model" in name for name in told["plan"]["target_modules"])
    warned = [record["code"] for record in records if record["kind"] == "warning"]
    assert warned == ["images_not_foreseen", "packing_off"]
    assert told["done"]["steps"] == 3
    data = validate.load(str(tmp_path / "see.toml"), [f'data.sources=[{{path="{rows}"}}]'])[0].data
    assert image_rows.most_images(data) == 1


@pytest.mark.parametrize("ending", ["jsonl", "json"])
def test_a_model_without_eyes_is_refused(ending: str, rows: Path) -> None:
    records = [json.loads(line) for line in rows.read_text().splitlines()][::-1]
    path = rows.with_suffix(f".{ending}")
    lines = "\n".join(map(json.dumps, records))
    path.write_text(lines if ending == "jsonl" else json.dumps(records, indent=0))
    document = {"data": {"sources": [{"path": str(path)}]}, "model": {"path": "embedded"}}
    (problem,) = validate.problems(document)
    line = {"jsonl": 2, "json": 14}[ending]
    assert problem.key == "data.sources.0.path"
    assert problem.reason.startswith(f"{path}:{line} has an image")
    assert problem.fix.startswith("Choose a Gemma that sees")
    for path_of_model in ("google/gemma-3-4b-it", "google/gemma-4-E2B-it"):
        others = validate.problems({**document, "model": {"path": path_of_model}})
        assert not [problem for problem in others if problem.key.startswith("data")]
    assert not validate.problems(document, on_paper=True)


def test_words_about_images_are_words(tmp_path: Path) -> None:
    path = tmp_path / "rows.jsonl"
    talk = {"messages": ROWS[0]["messages"]}
    path.write_text(json.dumps(talk) + "\n")
    assert not validate.problems({"data": {"sources": [{"path": str(path)}]}})
