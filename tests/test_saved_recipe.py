"""A draft that is saved is the same recipe, with the original's text around what is changed."""

import itertools
import os
import resource
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from test_draft import GOOD, VALUES, drafted

from engine.paths import RECIPE_SCHEMA, RECIPES
from engine.problems import Refusal
from engine.recipe import files, toml_document, validate
from workbench.recipe_editor import draft, user_recipes

OTHER = """# Of another folder.
[adapter]

# A rank.
r = 3    # small

[data] # rows
sources = [
    # The first.
    { path = "rows.jsonl", weight = 2.0 },  # twice
    # The second.
    { path = "/nowhere/../rows.jsonl", name = "far" },
]

[model]
path = "model"
# End.
"""
BARE = "data.sources = [{ path = 'rows.jsonl' }]"
TABLES = '[[data.sources]]\n# One.\npath = "rows.jsonl"\n\n[training]\nseed = 1\n'
TEXTS = {"other": OTHER, "bare": BARE, "tables": TABLES, "windows": OTHER.replace("\n", "\r\n")}


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Recipes in a folder that is not the current one."""
    for place in ("there", "here"):
        (tmp_path / place / "model").mkdir(parents=True)
        (tmp_path / place / "model/config.json").write_text("{}")
        for name in ("rows.jsonl", "other.jsonl"):
            (tmp_path / place / name).write_text('{"messages": []}\n')
    for name, text in TEXTS.items():
        (tmp_path / f"there/{name}.toml").write_text(text, newline="")
    monkeypatch.chdir(tmp_path / "here")
    return tmp_path


THERE = [f"../there/{name}.toml" for name in TEXTS]
NAMES = [*THERE, files.QUICKSTART]
KEYS = ["", *VALUES]


@pytest.mark.parametrize(
    ("key", "name"),
    [*((key, files.QUICKSTART) for key in KEYS), *zip(KEYS, itertools.cycle(THERE))],
)
def test_it_is_the_same_recipe_for_every_key(key: str, name: str) -> None:
    is_same_for(name, {key: VALUES[key]} if key else {})


@pytest.mark.parametrize(
    "changes",
    [
        {"data.sources": "rows.jsonl"},
        {"data.sources": "a/b"},
        {"data.sources": '["rows.jsonl"]'},
        {"samples.prompts": '"Who?"'},
        {"samples.prompts": "Who?"},
        {"adapter.target_modules": "q_proj"},
        {"score": "none"},
        {"samples": "none", "model.path": "model"},
        {"data.seed": "3", "data.heldout": "none"},
    ],
    ids=str,
)
@pytest.mark.parametrize("name", NAMES)
def test_what_is_typed_loosely_or_left_out_is_saved(name: str, changes: dict[str, str]) -> None:
    is_same_for(name, changes, keeps_comments="none" not in changes.values())


@pytest.mark.parametrize("name", files.names())
def test_every_recipe_can_be_saved(name: str) -> None:
    is_same_for(name, {"data.max_length": VALUES["data.max_length"]})


@settings(max_examples=60, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from([*NAMES, *files.names()]), st.sets(st.sampled_from(sorted(VALUES))))
def test_it_is_the_same_recipe_for_many_keys(name: str, keys: set[str]) -> None:
    is_same_for(name, {key: VALUES[key] for key in sorted(keys)})


def is_same_for(name: str, changes: dict[str, str], *, keeps_comments: bool = True) -> None:
    edited = drafted(name, **changes)
    Path("mine.toml").unlink(missing_ok=True)
    assert user_recipes.save(edited, "mine") == "mine.toml"
    overrides = draft.overrides(changes)
    kept = Path("mine.toml").read_bytes().decode()
    there = toml_document.settings(edited.text, edited.folder, overrides)
    assert toml_document.settings(kept, Path.cwd(), []) == there
    if not validate.problems(there):
        assert validate.load("mine.toml", [])[0] == validate.load(name, overrides)[0]
    if "data.sources" not in changes and keeps_comments:
        text = files.with_reachable_schema(edited.text)
        comments = [line for line in text.splitlines() if line.strip().startswith("#")]
        assert [line for line in kept.splitlines() if line.strip().startswith("#")] == comments


def test_only_the_lines_that_change_change() -> None:
    changes = {"adapter.r": "8", "training.optim": "sgd", "training.max_steps": "7"}
    old = (RECIPES / "quickstart.toml").read_text()
    user_recipes.save(drafted("quickstart", **changes), "mine")
    data = RECIPES / "data"
    expected = (
        old.replace("#:schema recipe.schema.json", f"#:schema {RECIPE_SCHEMA.as_uri()}")
        .replace("\nr = 128", "\nr = 8")
        .replace('optim = "adamw_torch"', 'optim = "sgd"')
        .replace("seed = 0\n\n[samples]", "seed = 0\nmax_steps = 7\n\n[samples]")
        .replace('"data/', f'"{data}/')
    )
    assert Path("mine.toml").read_text() == expected


def test_a_recipe_of_this_folder_keeps_its_paths() -> None:
    Path("mine.toml").write_text(GOOD)
    user_recipes.save(drafted(**{"model.path": "model"}), "next")
    assert Path("next.toml").read_text() == f'{GOOD}\n[model]\npath = "model"\n'


@pytest.mark.parametrize(
    "name",
    ["", ".", "..", ".hidden", "-x", "a/b", "../up", "a b", "a\n", "ä", "x" * 65, "a\x1b[2J",
     "taken", "quickstart", "link"],
)  # fmt: skip
def test_a_name_that_is_not_free_or_not_safe_is_refused(name: str) -> None:
    Path("taken.toml").write_text("mine")
    Path("link.toml").symlink_to("nowhere")
    before = sorted(os.listdir())
    with pytest.raises(Refusal):
        user_recipes.save(drafted("quickstart"), name)
    assert sorted(os.listdir()) == before
    assert Path("taken.toml").read_text() == "mine"


def test_nothing_half_made_remains_of_a_disk_that_is_full() -> None:
    edited, before = drafted("quickstart"), sorted(os.listdir())
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (100, hard))
    try:
        with pytest.raises(Refusal, match="File too large"):
            user_recipes.save(edited, "mine")
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert sorted(os.listdir()) == before


def test_a_text_that_would_mean_something_else_is_not_written() -> None:
    """Not a number equals nothing, itself neither."""
    Path("odd.toml").write_text(f"{GOOD}[training]\nlearning_rate = nan\n")
    with pytest.raises(Refusal, match="something else"):
        user_recipes.save(drafted("odd.toml"), "mine")
    assert not Path("mine.toml").exists()
