"""Which files of a folder are trained on: those of the asked split, and never what is no rows."""

import json
from pathlib import Path

import datasets
import pytest

from engine.recipe.data_files import source_files
from engine.recipe.split_names import split_of
from tests import command


def rows(name: str, count: int = 3) -> list[dict[str, str]]:
    """Rows that say which file they are from."""
    return [{"prompt": f"{name} question {n}?", "completion": f"{name} {n}."} for n in range(count)]


def written(path: Path, name: str, count: int = 3) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows(name, count)))
    return path


def preview(cwd: Path, source: str) -> tuple[int, str, str]:
    chosen = f"data.sources=[{source}]"
    return command.call(cwd, "preview", "quickstart", "--json", "--rows", "99", "--set", chosen)


@pytest.mark.parametrize(
    ("parts", "split"),
    [
        ("train.jsonl", "train"),
        ("valid.jsonl", "validation"),
        ("dev.json", "validation"),
        ("data/test-00000-of-00001.parquet", "test"),
        ("data/train_sft-00000-of-00003-a09b74b3ef9c3b56.parquet", "train_sft"),
        ("plain_text/validation/0000.parquet", "validation"),
        ("train/part-00000.parquet", "train"),
        ("test/train_of_thought.jsonl", "test"),
        ("my-eval-rows.v2.jsonl.gz", "eval"),
        ("held_out.csv", "holdout"),
        ("holdout_from_train.csv", "holdout"),
        ("Test.JSONL", "test"),
        ("data-00000-of-00001.arrow", ""),
        ("contest.jsonl", ""),
        ("training_manual/pages.jsonl", "train"),
        ("evaluating.jsonl", ""),
    ],
)
def test_names_of_files_and_folders_name_splits(parts: str, split: str) -> None:
    assert split_of(Path(parts).parts) == split


def test_a_folder_is_read_by_its_split_and_says_what_it_leaves(tmp_path: Path) -> None:
    for name, count in (("train", 4), ("valid", 2), ("test", 3)):
        written(tmp_path / "set" / f"{name}.jsonl", name, count)
    (tmp_path / "set/README.md").write_text("# A set")
    (tmp_path / "set/dataset_info.json").write_text('{"features": {}}')
    code, out, err = preview(tmp_path, '{path="set"}')
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert [row["text"].count("train question") for row in told["rows"]] == [1] * 4
    (source,) = told["sources"]
    folder = tmp_path / "set"
    assert (source["asked"], source["files"]) == (4, [str(folder / "train.jsonl")])
    assert source["left_out"] == {
        "about the data, no rows": [str(folder / "README.md"), str(folder / "dataset_info.json")],
        "of the split validation": [str(folder / "valid.jsonl")],
        "of the split test": [str(folder / "test.jsonl")],
    }
    code, out, _ = preview(tmp_path, '{path="set", split="dev"}')
    assert [row["text"].count("valid question") for row in json.loads(out)["rows"]] == [1] * 2


def test_what_is_left_out_stands_in_the_text_and_in_the_plan(tmp_path: Path) -> None:
    written(tmp_path / "set/train.jsonl", "train", 4)
    written(tmp_path / "set/test.jsonl", "test")
    chosen = ["--set", 'data.sources=[{path="set"}]']
    code, out, err = command.call(tmp_path, "preview", "quickstart", *chosen)
    assert (code, err) == (0, "")
    assert "files not read 1 x of the split test\n  first: " in out
    fast = [*command.SHORT, *chosen, "--set", "training.max_steps=1"]
    code, _, err = command.call(tmp_path, "--run", "quickstart", *fast)
    assert (code, err) == (0, "")
    (plan,) = tmp_path.glob("runs/*/plan.json")
    (source,) = json.loads(plan.read_text())["sources"]
    assert source["files"] == [str(tmp_path / "set/train.jsonl")]
    assert source["left_out"] == {"of the split test": [str(tmp_path / "set/test.jsonl")]}


@pytest.mark.parametrize(
    ("source", "said"),
    [
        ('{path="held"}', ["splits test, validation, and none that is called train",
                           'split = "test" or split = "validation"']),
        ('{path="set", split="holdout"}', ["the split train, and none that is called holdout"]),
        ('{path="plain", split="test"}', ["no file in it is named by a split"]),
        ('{path="plain/a.jsonl", split="test"}', ["the path is one file", "Leave out split"]),
        ('{path="set/train.jsonl", split="test"}', ["its name is that of the split train"]),
        ('{path="plain/*.jsonl", split="test"}', ["no file in it is named by a split"]),
        ('{path="plain", config="main"}', ["config belongs to a dataset on the hub"]),
        ('{path="about"}', ["no file with rows is there"]),
    ],
)  # fmt: skip
def test_a_split_that_is_not_there_is_refused(tmp_path: Path, source: str, said: list[str]) -> None:
    written(tmp_path / "held/test.jsonl", "test")
    written(tmp_path / "held/valid/a.jsonl", "valid")
    written(tmp_path / "set/train.jsonl", "train")
    written(tmp_path / "plain/a.jsonl", "a")
    (tmp_path / "about").mkdir()
    (tmp_path / "about/state.json").write_text("{}")
    code, out, err = preview(tmp_path, source)
    assert (code, out) == (2, "")
    assert err.count("gemma-bench: ") == 1
    for words in said:
        assert words in err


def read(folder: Path, path: str, split: str | None = None) -> list[str]:
    """Files of a path below a folder, relative to it."""
    return [str(file.relative_to(folder)) for file in source_files(str(folder / path), split).read]


def test_what_counts_as_asked(tmp_path: Path) -> None:
    for name in ("train.jsonl", "test.jsonl", "validation.jsonl", "extra.jsonl"):
        written(tmp_path / name, "x")
    for name in ("faq.jsonl", "test.jsonl", ".hidden.jsonl"):
        written(tmp_path / "plain" / name, "x")
    assert read(tmp_path, "*.jsonl") == ["train.jsonl"]
    assert read(tmp_path, "te*.jsonl") == []
    assert read(tmp_path, "test*.jsonl") == ["test.jsonl"]
    assert read(tmp_path, "*.jsonl", "train+test") == ["test.jsonl", "train.jsonl"]
    assert read(tmp_path, "plain", "all") == ["plain/faq.jsonl", "plain/test.jsonl"]
    assert read(tmp_path, "plain") == ["plain/faq.jsonl"]
    assert read(tmp_path, "plain/f*.jsonl") == ["plain/faq.jsonl"]
    assert read(tmp_path, "*/f*.jsonl") == ["plain/faq.jsonl"]
    assert read(tmp_path, "test.jsonl") == ["test.jsonl"]
    assert read(tmp_path, "test.jsonl", "test") == ["test.jsonl"]


def test_what_save_to_disk_writes_is_read_and_its_metadata_is_not(tmp_path: Path) -> None:
    train = datasets.Dataset.from_list(rows("train", 5))
    parts = datasets.DatasetDict({"train_sft": train, "rest": train.select([0])})
    train.save_to_disk(tmp_path / "one", num_shards=2)
    (tmp_path / "one/cache-0a1b.arrow").write_bytes(b"stale")
    parts.save_to_disk(tmp_path / "many")
    assert [Path(name).name for name in read(tmp_path, "one")] == [
        "data-00000-of-00002.arrow", "data-00001-of-00002.arrow",
    ]  # fmt: skip
    refused = source_files(str(tmp_path / "many"))
    assert refused.read == ()
    assert "it holds the splits rest, train_sft" in refused.reason
    assert read(tmp_path, "many", "rest") == ["many/rest/data-00000-of-00001.arrow"]


def test_more_rows_dropped_than_taken_is_a_warning_and_the_plan_tells_what_a_preview_does(
    tmp_path: Path,
) -> None:
    lines = [*rows("train", 4), *({"prompt": f"{n}?", "completion": ""} for n in range(6))]
    lines[0] |= {"id": 7, "mood": "calm", "completion": "7"}
    path = tmp_path / "mine.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in lines))
    fast = [*command.SHORT, "--set", "training.max_steps=1"]
    chosen = ["--set", f"data.sources=[{{path='{path}'}}]"]
    code, _, err = command.call(tmp_path, "--run", "quickstart", *fast, *chosen)
    assert (code, err) == (0, "")
    (log,) = tmp_path.glob("runs/*/events.jsonl")
    told = [json.loads(line) for line in log.read_text().splitlines()]
    (warning,) = [one for one in told if one.get("code") == "rows_dropped"]
    assert (
        "6 of 10 rows of mine.jsonl are dropped, most of them for an empty answer"
        in (warning["message"])
    )
    code, out, _ = command.call(tmp_path, "preview", "quickstart", *chosen)
    assert f"\n{warning['message']}\n" in out
    code, out, _ = command.call(tmp_path, "preview", "quickstart", *chosen, "--json")
    (previewed,) = json.loads(out)["sources"]
    (planned,) = json.loads(next(tmp_path.glob("runs/*/plan.json")).read_text())["sources"]
    assert {key: planned[key] for key in previewed} == previewed
    assert (previewed["unread"], previewed["harmless"]) == ({"mood": 1}, {"id": 1})
    assert (previewed["noted"], previewed["dropped"]) == (
        {"an answer of one character": 1}, {"an empty answer": 6},
    )  # fmt: skip
