"""What a text means that is typed as a value: on the command line and in the app alike."""

from datetime import date
from pathlib import Path
from typing import Any

import pytest

from engine.recipe import schema, toml_document, typed_value, validate
from engine.recipe.schema import Recipe
from tests import command

TARGETS = ["q_proj", "v_proj"]


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with rows, below a home that has some too."""
    here = tmp_path / "here"
    (here / "folder").mkdir(parents=True)
    (here / "gemma").mkdir()
    for path in (here / "towns.jsonl", here / "folder/a.jsonl", tmp_path / "own.jsonl"):
        path.write_text('{"question": "What?", "answer": "That."}\n')
    for place in (here, tmp_path):
        (place / "gemma").mkdir(exist_ok=True)
        (place / "gemma/config.json").write_text("{}")
    (here / "mine.toml").write_text(
        '[data]\nsources = [{ path = "~/own.jsonl" }]\nheldout = 0.5\n'
        '[score]\nheldout = "~/own.jsonl"\n[model]\nrevision = "main"\n'
    )
    monkeypatch.chdir(here)
    monkeypatch.setenv("HOME", str(tmp_path))
    return here


def path(name: str) -> dict[str, str]:
    return {"path": str(Path.cwd() / name)}


SOURCES = {
    "towns.jsonl": ["towns.jsonl"],
    '"towns.jsonl"': ["towns.jsonl"],
    "folder": ["folder"],
    "./folder/*.jsonl": ["./folder/*.jsonl"],
    "folder/none": ["folder/none"],
    "gone.jsonl": ["gone.jsonl"],
    "far/gone.jsonl": ["far/gone.jsonl"],
    "of no kind": ["of no kind"],
    "2026": ["2026"],
    '["towns.jsonl", "folder"]': ["towns.jsonl", "folder"],
    '[{path="towns.jsonl"}]': ["towns.jsonl"],
    '{path="towns.jsonl"}': ["towns.jsonl"],
}


@pytest.mark.parametrize("text", SOURCES)
def test_a_path_is_a_source(text: str) -> None:
    read = typed_value.read("data.sources", text, Path.cwd())
    assert read == [path(name) for name in SOURCES[text]]


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("HuggingFaceH4/no_robots", [{"id": "HuggingFaceH4/no_robots"}]),
        ("https://huggingface.co/datasets/openai/gsm8k", [{"id": "openai/gsm8k"}]),
        (
            '["openai/gsm8k", {id="a/b", rows=2}]',
            [{"id": "openai/gsm8k"}, {"id": "a/b", "rows": 2}],
        ),
        ("", []),
    ],
)
def test_a_name_on_the_hub_is_a_source(text: str, value: Any) -> None:
    assert typed_value.read("data.sources", text, Path.cwd()) == value


@pytest.mark.parametrize(
    ("key", "text", "value"),
    [
        ("samples.prompts", "Who are you?", ["Who are you?"]),
        ("samples.prompts", '"Who?"', ["Who?"]),
        ("samples.prompts", "2026", ["2026"]),
        ("samples.prompts", "['a', 'b=c']", ["a", "b=c"]),
        ("samples.prompts", "", []),
        ("adapter.target_modules", "q_proj, v_proj", TARGETS),
        ("adapter.target_modules", "['q_proj', 'v_proj']", TARGETS),
        ("adapter.target_modules", "all-linear", list(schema.Adapter().target_modules)),
        ("adapter.target_modules", ".*mlp.*", ".*mlp.*"),
        ("adapter.target_modules", "q_prj", "q_prj"),
        ("model.revision", "2026-11-28", "2026-11-28"),
        ("model.revision", "12", "12"),
        ("model.path", "google/gemma-3-1b-it", "google/gemma-3-1b-it"),
        ("model.host_tables", "auto", "auto"),
        ("model.host_tables", "Yes", True),
        ("data.packing", "True", True),
        ("data.packing", "off", False),
        ("data.packing", "1", 1),
        ("data.heldout", "0.05", 0.05),
        ("data.strict", "maybe", "maybe"),
        ("training.max_steps", "1e3", 1000),
        ("training.max_steps", "'7'", 7),
        ("training.max_steps", "1.5", 1.5),
        ("training.learning_rate", ".5", 0.5),
        ("training.learning_rate", "2e-4", 2e-4),
        ("training.learning_rate", "much", "much"),
        ("data.sources.0.rows", "100", 100),
        ("data.sources.0.rows", "1.0", 1.0),
        ("data.sources.0.name", "7", "7"),
        ("data.sources.0.columns.question", "title", "title"),
        ("data.sources.0.filter.max_tokens", "9", 9),
        ("no.such_key", "7", 7),
        ("no.such_key", "2026-11-28", date(2026, 11, 28)),
    ],
)
def test_a_value_is_what_its_key_can_take(key: str, text: str, value: Any) -> None:
    read = typed_value.read(key, text, Path.cwd())
    assert (read, type(read)) == (value, type(value))


def test_a_path_begins_at_the_current_folder_or_at_home(tmp_path: Path) -> None:
    here = Path.cwd()
    for key in ("score.heldout", "data.heldout", "data.sources.0.path"):
        assert typed_value.read(key, "towns.jsonl", here) == str(here / "towns.jsonl")
        assert typed_value.read(key, "~/own.jsonl", here) == str(tmp_path / "own.jsonl")
    assert typed_value.read("data.sources.0", "~/own.jsonl", here) == {
        "path": str(tmp_path / "own.jsonl")
    }
    assert typed_value.read("model.path", "gemma", here) == str(here / "gemma")
    assert typed_value.read("model.path", "~/gemma", here) == str(tmp_path / "gemma")
    assert typed_value.read("model.path", "~/gone", here) == str(tmp_path / "gone")


def test_every_path_of_a_file_may_begin_at_home(tmp_path: Path) -> None:
    recipe, _ = validate.load("mine.toml", ["data.heldout=~/own.jsonl", "model.path=~/gemma"])
    assert recipe.score
    paths = (recipe.data.sources[0].path, recipe.score.heldout, recipe.data.heldout)
    assert paths == (str(tmp_path / "own.jsonl"),) * 3
    assert recipe.model.path == str(tmp_path / "gemma")


def test_sections_and_keys_can_be_left_out() -> None:
    recipe, _ = validate.load(
        "mine.toml", ["score=none", "data.heldout=none", "model=none", "adapter=none"]
    )
    assert recipe == Recipe(data=recipe.data.model_copy(update={"heldout": None}))
    assert not typed_value.leaves_out("model.quantization", "none")
    with pytest.raises(validate.Refusal, match="data: it is required"):
        validate.load("mine.toml", ["data=none"])
    with pytest.raises(validate.Refusal, match="no such file"):
        validate.load("mine.toml", ["score.heldout=none"])


def test_a_key_of_one_source_can_be_set() -> None:
    document = toml_document.settings(
        '[data]\nsources = [{ id = "a/b" }, { id = "c/d" }]\n',
        Path.cwd(),
        ["data.sources.1.rows=5", "data.sources.1.columns.question=title", "data.sources.0=folder"],
    )
    second = {"id": "c/d", "rows": 5, "columns": {"question": "title"}}
    assert document["data"]["sources"] == [path("folder"), second]


def test_the_command_line_reads_so(here: Path) -> None:
    code, out, err = command.call(
        here, "budget", "mine.toml", "--hardware", "cpu", "--json", "--set", "lr=1e-3"
    )
    assert (code, out) == (2, "")
    assert "lr = 0.001: unknown key. Did you mean training.learning_rate?" in err
    arguments = ["--set", "training.learning_rate=.001", "--set", "data.sources=towns.jsonl"]
    code, out, err = command.call(here, "budget", "mine.toml", "--hardware", "cpu", *arguments)
    assert (code, err) == (0, "")
