"""Recipes: those that come with the project, every mistake at once, and what --set means."""

import json
import os
from collections.abc import Callable
from pathlib import Path
from typing import Any, get_args

import pytest

from engine.budget import suggestions
from engine.budget.placement import forecast_recipe
from engine.hardware import profiles
from engine.paths import RECIPES
from engine.problems import Problem, Refusal
from engine.recipe import aliases, files, schema, validate
from engine.recipe.schema import Recipe
from tests.test_variants import ROWS_TO_GIVE

DATA = '[data]\nsources = [{ path = "rows.jsonl" }]\n'
Load = Callable[..., Recipe]
Mistakes = Callable[..., dict[str, Problem]]


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder of recipe, rows and model, apart from the current one."""
    here = tmp_path / "recipes"
    (here / "model").mkdir(parents=True)
    (here / "rows.jsonl").write_text('{"question": "What?", "answer": "That."}\n')
    (here / "model/config.json").write_text("{}")
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    monkeypatch.delenv("HF_HUB_OFFLINE", raising=False)
    monkeypatch.setenv("HF_HOME", str(tmp_path / "hf"))
    monkeypatch.delenv("HF_HUB_CACHE", raising=False)
    return here


@pytest.fixture
def load(folder: Path) -> Load:
    """Loads a recipe with that text and those overrides."""

    def load(text: str, *overrides: str) -> Recipe:
        (folder / "mine.toml").write_text(text)
        return validate.load(str(folder / "mine.toml"), list(overrides))[0]

    return load


@pytest.fixture
def mistakes(load: Load) -> Mistakes:
    """The problems of a recipe by key; there must be some, and each must say something."""

    def mistakes(text: str, *overrides: str) -> dict[str, Problem]:
        with pytest.raises(Refusal) as refused:
            load(text, *overrides)
        assert refused.value.exit_code == 2
        problems = refused.value.problems
        assert all(problem.key and problem.reason and problem.fix for problem in problems)
        assert all(str(problem) in str(refused.value) for problem in problems)
        assert len(set(problems)) == len(problems)
        return {problem.key: problem for problem in problems}

    return mistakes


def test_recipes_are_found_by_name() -> None:
    found = [p for p in RECIPES.rglob("*.toml") if "hardware" not in p.parts]
    assert found
    assert sorted(path.stem for path in found) == sorted(files.names())
    assert files.names()[0] == files.QUICKSTART


@pytest.mark.parametrize("name", files.names())
def test_a_recipe_that_comes_along_is_sound(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("HF_HUB_OFFLINE")
    is_lacking = name in ROWS_TO_GIVE or "gguf" in name
    loaded, text = validate.load(name, [], on_paper=is_lacking)
    assert text == files.find(name).read_bytes()
    assert Recipe.model_validate(json.loads(loaded.model_dump_json())) == loaded


def test_mistakes_of_all_sections_come_at_once(mistakes: Mistakes) -> None:
    found = mistakes(
        '[model]\npath = "/nowhere"\ndtype = "bf16"\n'
        '[adapter]\nr = 0\ntarget_modules = ["lm_head"]\n'
        '[data]\nsources = [{ path = "gone.jsonl" }]\nmax_lenght = 9\n'
        "[training]\nmax_steps = 0\nwarmup_steps = 1.5\noptim = 7\n"
    )
    assert found.keys() == {
        "model.path", "model.dtype", "adapter.r", "adapter.target_modules",
        "data.sources.0.path", "data.max_lenght",
        "training.max_steps", "training.warmup_steps", "training.optim",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("text", "key", "nearest"),
    [
        (DATA + "[training]\nlerning_rate = 1e-3\n", "training.lerning_rate",
         "training.learning_rate"),
        ("learning_rate = 1e-3\n" + DATA, "learning_rate", "training.learning_rate"),
        ("r = 4\n" + DATA, "r", "adapter.r"),
        (DATA + "[model]\nlora_alpha = 4\n", "model.lora_alpha", "adapter.lora_alpha"),
        (DATA + "[trainig]\nseed = 1\n", "trainig", "training"),
        ("scor = 'none'\n" + DATA, "scor", "score"),
        ('[data]\nsources = [{ path = "rows.jsonl", pth = 1 }]\n', "data.sources.0.pth",
         "data.sources.path"),
        (DATA + "[training]\nxyzzy = 1\n", "training.xyzzy", ""),
        (DATA + "[training]\nlr = 1e-3\n", "training.lr", "training.learning_rate"),
        ("Max-Seq-Length = 9\n" + DATA, "Max-Seq-Length", "data.max_length"),
    ],
)  # fmt: skip
def test_an_unknown_key_names_the_nearest(
    mistakes: Mistakes, text: str, key: str, nearest: str
) -> None:
    found = mistakes(text)
    assert found.keys() == {key}
    assert found[key].reason == "unknown key"
    assert found[key].nearest == nearest
    assert nearest in found[key].fix


def test_a_name_of_another_trainer_names_a_key(mistakes: Mistakes) -> None:
    every = {*schema.FIELDS, *(f"data.sources.{name}" for name in schema.Source.model_fields)}
    assert {*aliases.ALIASES.values()} <= every
    found = mistakes("".join(f"{alias} = 1\n" for alias in aliases.ALIASES) + DATA)
    assert {key: problem.nearest for key, problem in found.items()} == aliases.ALIASES


def test_a_section_that_is_no_table_names_its_first_key(mistakes: Mistakes) -> None:
    found = mistakes('model = "google/gemma-3-1b-it"\n' + DATA)
    assert found["model"].fix == "Did you mean model.path?"


@pytest.mark.parametrize(
    ("text", "key", "value"),
    [
        (DATA + '[adapter]\nr = "16"\n', "adapter.r", "'16'"),
        (DATA + "[adapter]\nr = 1.5\n", "adapter.r", "1.5"),
        (DATA + "[adapter]\nr = true\n", "adapter.r", "True"),
        (DATA + "[adapter]\nlora_dropout = 1.0\n", "adapter.lora_dropout", "1.0"),
        (DATA + "[adapter]\ntarget_modules = []\n", "adapter.target_modules", "[]"),
        (DATA + "[adapter]\ntarget_modules = [3]\n", "adapter.target_modules.0", "3"),
        (DATA + "[adapter]\ntarget_modules = 3\n", "adapter.target_modules", "3"),
        (DATA + '[adapter]\nmethod = "lora+"\n', "adapter.method", "'lora+'"),
        (DATA + '[model]\ndtype = "float16"\n', "model.dtype", "float16"),
        (DATA + "[training]\nlearning_rate = -1.0\n", "training.learning_rate", "-1.0"),
        (DATA + "[training]\nlearning_rate = nan\n", "training.learning_rate", "nan"),
        (DATA + "[training]\nnum_train_epochs = inf\n", "training.num_train_epochs", "inf"),
        (DATA + "[training]\nwarmup_steps = inf\n", "training.warmup_steps", "inf"),
        (DATA + '[training]\noptim = "adam"\n', "training.optim", "'adam'"),
        (DATA + "[training]\nloraplus_lr_ratio = 0.0\n", "training.loraplus_lr_ratio", "0.0"),
        (DATA + "[training]\nwarmup_steps = 1.5\n", "training.warmup_steps", "1.5"),
        (DATA + "[training]\nmax_steps = 0\n", "training.max_steps", "0"),
        (DATA + "packing = 1\n", "data.packing", "1"),
        ('model = "x"\n' + DATA, "model", "'x'"),
        ("", "data", ""),
        ("[data]\n", "data.sources", ""),
        ("[data]\nsources = []\n", "data.sources", "[]"),
        ('[data]\nsources = "rows.jsonl"\n', "data.sources", "'rows.jsonl'"),
        ("[data]\nsources = [{}]\n", "data.sources.0.path", ""),
        (DATA + "[score]\n", "score.heldout", ""),
    ],
)
def test_a_wrong_value_is_told_once(mistakes: Mistakes, text: str, key: str, value: str) -> None:
    found = mistakes(text)
    assert found.keys() == {key}
    assert found[key].value == value


@pytest.mark.parametrize("name", ["embed_tokens", "lm_head", "embed_tokens_per_layer"])
def test_tied_embeddings_are_refused_with_the_reason(mistakes: Mistakes, name: str) -> None:
    found = mistakes(DATA + f'[adapter]\ntarget_modules = ["q_proj", "{name}"]\n')
    assert "tied" in found["adapter.target_modules"].reason
    assert name in found["adapter.target_modules"].fix


def test_a_misspelt_projection_names_the_nearest(mistakes: Mistakes) -> None:
    found = mistakes(DATA, "adapter.target_modules=['q_prj']")
    assert found["adapter.target_modules"].nearest == "q_proj"
    found = mistakes(DATA, "adapter.target_modules=['xyzzy']")
    assert "v_proj" in found["adapter.target_modules"].fix


@pytest.mark.parametrize(
    ("name", "content", "reason"),
    [
        ("gone.jsonl", None, "no such file"),
        ("empty.jsonl", "", "empty"),
        ("blank.jsonl", "\n \n", "empty"),
        ("rows.txt", "a,b\n", ".txt ending"),
        ("rows", "{}\n", "no ending"),
        (".", None, "is a directory"),
        ("rows.jsonl/below.jsonl", None, "not a directory"),
        ("a" * 300 + ".jsonl", None, "too long"),
        ("nul\\u0000.jsonl", None, "null byte"),
    ],
)
@pytest.mark.parametrize("section", ["data", "score"])
def test_a_file_without_rows_is_refused(
    mistakes: Mistakes, folder: Path, section: str, name: str, content: str | None, reason: str
) -> None:
    if content is not None:
        (folder / name).write_text(content)
    if section == "data" and name == ".":
        # A folder of rows is a source; one without any is not.
        name, reason = "bare", "no file with rows is there"
        (folder / name).mkdir()
    if section == "data":
        key, text = "data.sources.0.path", f'[data]\nsources = [{{ path = "{name}" }}]\n'
    else:
        key, text = "score.heldout", f'{DATA}[score]\nheldout = "{name}"\n'
    found = mistakes(text)
    assert found.keys() == {key}
    assert reason in found[key].reason


@pytest.mark.parametrize("path", ["/nowhere/gemma", "./gemma", "gemma", "a" * 300])
def test_a_model_that_is_not_there_is_refused(mistakes: Mistakes, path: str) -> None:
    found = mistakes(DATA + f'[model]\npath = "{path}"\n')
    assert "no such folder" in found["model.path"].reason


def test_a_folder_without_config_is_no_model(mistakes: Mistakes, folder: Path) -> None:
    (folder / "model/config.json").unlink()
    found = mistakes(DATA + '[model]\npath = "model"\n')
    assert found["model.path"].reason == "no config.json in it"


def test_a_hub_id_needs_the_hub_or_its_cache(
    load: Load, mistakes: Mistakes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    text = DATA + '[model]\npath = "google/gemma-3-1b-it"\n'
    assert load(text).model.path == "google/gemma-3-1b-it"
    monkeypatch.setenv("HF_HUB_OFFLINE", "1")
    assert "HF_HUB_OFFLINE" in mistakes(text)["model.path"].reason
    (tmp_path / "hf/hub/models--google--gemma-3-1b-it/snapshots").mkdir(parents=True)
    assert load(text).model.path == "google/gemma-3-1b-it"


@pytest.mark.parametrize("warmup", [0, 0.1, 1, 1.0, 20])
def test_warmup_is_a_count_or_a_share(load: Load, warmup: float) -> None:
    assert load(DATA, f"training.warmup_steps={warmup}").training.warmup_steps == warmup


@pytest.mark.parametrize("text", ["[data\n", "a = \n", "a = 1\na = 2\n", "lr: 2e-4\n"])
def test_what_is_no_toml_names_the_line(mistakes: Mistakes, text: str) -> None:
    (problem,) = mistakes(text).values()
    assert "line" in problem.reason


def test_what_is_no_text_is_refused(folder: Path) -> None:
    (folder / "binary.toml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(Refusal, match="not valid TOML"):
        validate.load(str(folder / "binary.toml"), [])


def test_a_recipe_that_is_not_there_names_the_nearest(folder: Path) -> None:
    with pytest.raises(Refusal, match=r"Did you mean quickstart\? gemma-bench recipes lists all$"):
        validate.load("quikstart", [])
    with pytest.raises(Refusal, match=r"Did you mean gemma3-1b-lora-sft or gemma3-1b-qlora-sft\?"):
        validate.load("gemma3-1b", [])
    Path("towns.toml").write_text(DATA)
    with pytest.raises(Refusal, match=r"Did you mean towns\.toml\?"):
        validate.load("twons", [])
    validate.load("towns.toml", [], on_paper=True)
    with pytest.raises(Refusal, match=r"(?i)is a directory"):
        validate.load(f"{folder}/.", [])


@pytest.mark.parametrize(
    ("override", "section", "key", "value"),
    [
        ("training.learning_rate=2e-4", "training", "learning_rate", 2e-4),
        ("training.max_steps = 7", "training", "max_steps", 7),
        ("data.packing=true", "data", "packing", True),
        ("model.dtype=float32", "model", "dtype", "float32"),
        ('model.dtype="float32"', "model", "dtype", "float32"),
        ("adapter.target_modules=['q_proj']", "adapter", "target_modules", ("q_proj",)),
        ("adapter.target_modules=.*mlp.*", "adapter", "target_modules", ".*mlp.*"),
        ("adapter={r=3}", "adapter", "r", 3),
        ("samples.prompts=['a=b', 'c']", "samples", "prompts", ("a=b", "c")),
    ],
)
def test_set_takes_toml_and_bare_words(
    load: Load, override: str, section: str, key: str, value: object
) -> None:
    loaded = load(DATA + "[training]\nlearning_rate = 1.0\n", override)
    assert getattr(getattr(loaded, section), key) == value


def test_the_last_set_wins_and_leaves_the_rest(load: Load) -> None:
    loaded = load(DATA + "[adapter]\nr = 2\nlora_alpha = 5\n", "adapter.r=3", "adapter.r=4")
    assert (loaded.adapter.r, loaded.adapter.lora_alpha) == (4, 5)


@pytest.mark.parametrize(
    "override", ["training", "=3", "data.sources.path=x", "data.sources.1=x", "a.b.c"]
)
def test_set_that_sets_nothing_is_refused(mistakes: Mistakes, override: str) -> None:
    assert mistakes(DATA, override).keys() == {"--set"}


def paths(loaded: Recipe) -> list[str]:
    score = loaded.score.heldout if loaded.score else ""
    return [loaded.model.path, loaded.data.sources[0].path, score]


def test_paths_belong_to_where_they_were_written(load: Load, folder: Path) -> None:
    text = DATA + '[model]\npath = "model"\n[score]\nheldout = "rows.jsonl"\n'
    loaded = load(text)
    assert paths(loaded) == [str(folder / "model"), *[str(folder / "rows.jsonl")] * 2]
    here = Path.cwd()
    (here / "own.jsonl").write_text("{}\n")
    (here / "gemma").mkdir()
    (here / "gemma/config.json").write_text("{}")
    loaded = load(
        text, 'data.sources=[{path="own.jsonl"}]', "score.heldout=own.jsonl", "model.path=gemma"
    )
    assert paths(loaded) == [str(here / "gemma"), *[str(here / "own.jsonl")] * 2]
    (here / "own.jsonl").unlink()
    with pytest.raises(Refusal, match=str(here)):
        load(text, "data={sources=[{path='own.jsonl'}]}")


def test_a_link_keeps_the_ending_of_its_own_name(load: Load, folder: Path) -> None:
    (folder / "blob").write_text("{}\n")
    (folder / "linked.jsonl").symlink_to("blob")
    loaded = load('[data]\nsources = [{ path = "linked.jsonl" }]\n')
    assert loaded.data.sources[0].path == str(folder / "linked.jsonl")


def test_a_recipe_survives_json(load: Load) -> None:
    loaded = load(DATA + '[score]\nheldout = "rows.jsonl"\n[samples]\nprompts = ["a", "안녕"]\n')
    assert Recipe.model_validate(json.loads(loaded.model_dump_json())) == loaded
    assert Recipe.model_validate(loaded.model_dump(mode="json")) == loaded


def numeric() -> list[str]:
    """Every key of a recipe that takes a number, found in the schema."""
    tables = {**schema.SECTIONS, "data.sources.0": schema.Source}
    tables["data.sources.0.filter"] = schema.Filter
    return [
        f"{table}.{name}"
        for table, model in tables.items()
        for name, field in model.model_fields.items()
        if {int, float} & {field.annotation, *get_args(field.annotation)}
    ]


def document(key: str, value: object) -> dict[str, Any]:
    """A recipe with that value at that key."""
    *path, last = key.split(".")
    source: dict[str, Any] = {"path": "rows.jsonl"}
    whole: dict[str, Any] = {"data": {"sources": [source]}}
    table = whole.setdefault(path[0], {"heldout": "rows.jsonl"} if path[0] == "score" else {})
    if len(path) > 1:
        table = source if len(path) == 3 else source.setdefault(path[3], {})
    table[last] = value
    return whole


@pytest.mark.parametrize("key", numeric())
def test_a_number_out_of_range_is_refused_by_its_key(key: str, folder: Path) -> None:
    """Too small and too large ones, however far; the largest that is taken can be forecast."""
    os.chdir(folder)
    card = profiles.profile("rtx-3060-12gb")
    ends = {"training.learning_rate": 10**30, "training.max_grad_norm": 10**400}
    for value in (-(10**400), -2, -0.5, 2**32, 2**53, 2**64, 10**400, 1e300):
        if 0 < value <= ends.get(key, 0):
            continue
        wrong = validate.problems(document(key, value))
        assert [problem.key for problem in wrong if problem.key.startswith(key)], value
        assert all(problem.reason and problem.fix for problem in wrong)
    for value in (2**31 - 1, 2**32 - 1, 1, 1.0, 0.5):
        taken = document(key, value)
        if not validate.problems(taken):
            forecast = forecast_recipe(Recipe.model_validate(taken), card)
            suggestions.suggestions(forecast)


def test_odd_numbers_are_told_before_anything_is_made(mistakes: Mistakes) -> None:
    seeds = ("training.seed=-1", "training.seed=99999999999999999999", "data.seed=4294967296")
    for override in seeds:
        key = override.partition("=")[0]
        (problem,) = mistakes(DATA, override).values()
        assert problem.key == key
        assert "4294967296" in problem.reason or "greater than or equal to 0" in problem.reason
    found = mistakes(DATA, "training.warmup_steps=100", "training.max_steps=60")
    assert "would end before the warm-up does" in found["training.warmup_steps"].reason
    filtered = DATA.replace('l" }', 'l", filter = { min_tokens = 9, max_tokens = 8 } }')
    found = mistakes(filtered)
    assert "at least 9 and at most 8" in found["data.sources.0.filter.max_tokens"].reason
