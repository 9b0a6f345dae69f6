"""Changes to a recipe, key by key: they mean what --set means, and are judged alike."""

import json
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from engine.gemma import catalog
from engine.problems import Refusal
from engine.recipe import files, schema, toml_document, validate
from workbench.recipe_editor import draft
from workbench.recipe_editor import keys as recipe_keys
from workbench.recipe_editor.draft import Draft
from workbench.text import toml_text

GOOD = '[data]\nsources = [{ path = "rows.jsonl" }]\n'
VALUES = {
    "model.path": "model", "model.revision": "main", "model.dtype": "float32",
    "model.quantization": "nf4", "model.host_tables": "false", "adapter.method": "dora",
    "adapter.r": "8",
    "adapter.lora_alpha": "7", "adapter.use_rslora": "true", "adapter.lora_dropout": "0.25",
    "adapter.target_modules": '["q_proj"]', "adapter.target_experts": "true",
    "data.sources": '[{ path = "other.jsonl", rows = 3 }]',
    "data.max_length": "99", "data.truncation": "drop", "data.packing": "true",
    "data.loss_on": "all", "data.thinking": "strip", "data.template": "model",
    "data.strict": "true", "data.heldout": "0.25", "data.seed": "5",
    "training.per_device_train_batch_size": "3",
    "training.gradient_accumulation_steps": "2", "training.learning_rate": "3e-4",
    "training.lr_scheduler_type": "linear", "training.warmup_steps": "0.5",
    "training.num_train_epochs": "2.5", "training.max_steps": "9", "training.optim": "sgd",
    "training.loraplus_lr_ratio": "16.0", "training.weight_decay": "0.1",
    "training.max_grad_norm": "0.5",
    "training.gradient_checkpointing": "false", "training.save_steps": "4",
    "training.save_total_limit": "7", "training.seed": "6",
    "training.on_nonfinite": "skip", "training.max_skipped_steps": "8",
    "training.on_failed_save": "stop", "training.on_out_of_memory": "retry",
    "training.deterministic": "true", "samples.prompts": '["a", "b"]',
    "samples.rows": "3",
    "samples.every": "2", "samples.max_new_tokens": "8", "score.heldout": "other.jsonl",
    "score.general": "other.jsonl", "score.max_new_tokens": "9",
}  # fmt: skip
"""Another value than the default for every key that has one, as --set takes it."""


@pytest.fixture(autouse=True)
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder holds a recipe, rows and a model."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "model").mkdir()
    (tmp_path / "model/config.json").write_text("{}")
    for name in ("rows.jsonl", "other.jsonl"):
        (tmp_path / name).write_text('{"messages": []}\n')
    (tmp_path / "mine.toml").write_text(GOOD)
    return tmp_path


def drafted(name: str = "mine.toml", **changes: str) -> Draft:
    found = draft.read(name, changes)
    assert found is not None
    return found


def test_every_key_of_the_schema_is_listed_and_tried() -> None:
    keys = [key.name for key in recipe_keys.of_draft(drafted())]
    fields = {f"{s}.{name}" for s, model in schema.SECTIONS.items() for name in model.model_fields}
    assert set(keys) == fields == VALUES.keys()
    assert len(keys) == len(fields)


@pytest.mark.parametrize("key", VALUES)
@pytest.mark.parametrize("name", ["mine.toml", "quickstart"])
def test_a_change_means_what_set_means(key: str, name: str) -> None:
    changed = drafted(name).changed(key, VALUES[key])
    if name == "mine.toml" and key in {"score.general", "score.max_new_tokens"}:
        changed = changed.changed("score.heldout", "rows.jsonl")
    if key == "adapter.target_experts":
        shape = json.dumps(catalog.config_of("gemma-4-26B-A4B"))
        Path("model/config.json").write_text(shape)
        changed = changed.changed("model.path", "model")
    loaded, _ = validate.load(name, draft.overrides(changed.changes))
    assert schema.Recipe.model_validate(changed.document) == loaded
    assert not changed.wrong(key, VALUES[key])
    (shown,) = (each for each in recipe_keys.of_draft(changed) if each.name == key)
    if shown.origin != "changed":
        assert draft.setting_of(changed.own, key) == VALUES[key]
    assert (shown.text, changed.changed(key, "").changes.get(key)) == (VALUES[key], None)


@pytest.mark.parametrize("name", files.names())
def test_what_is_shown_of_a_key_can_be_given_back(name: str) -> None:
    """A value that is not touched stays what it was, whatever it is."""
    edited = drafted(name)
    for key in recipe_keys.of_draft(edited):
        if key.text:
            given = toml_document.settings(edited.text, edited.folder, [f"{key.name}={key.text}"])
            section, _, last = key.name.partition(".")
            own = edited.own.get(section, {})
            assert given[section][last] == own.get(last, given[section][last])
            assert edited.changed(key.name, key.text).changes == {}


@pytest.mark.parametrize(
    ("key", "text", "at"),
    [
        ("adapter.r", "abc", "adapter.r"),
        ("adapter.r", "0", "adapter.r"),
        ("adapter.target_modules", '["q_prj"]', "adapter.target_modules"),
        ("adapter.target_modules", "q_prj", "adapter.target_modules"),
        ("data.sources", '[{ path = "gone.jsonl" }]', "data.sources.0.path"),
        ("data.max_length", "7.5", "data.max_length"),
        ("training.max_steps", "0", "training.max_steps"),
        ("training.warmup_steps", "1.5", "training.warmup_steps"),
        ("model.path", "gone/", "model.path"),
        ("score.max_new_tokens", "9", "score.heldout"),
    ],
)
def test_what_is_typed_is_judged_as_the_command_line_does(key: str, text: str, at: str) -> None:
    wrong = drafted().wrong(key, text)
    assert [problem.key for problem in wrong] == [at]
    with pytest.raises(Refusal) as refused:
        validate.load("mine.toml", [f"{key}={text}"])
    assert refused.value.problems == wrong


def test_what_was_wrong_before_is_not_the_key_s_fault() -> None:
    Path("mine.toml").write_text(f"{GOOD}[adapter]\nr = 0\n")
    assert [problem.key for problem in drafted().wrong("adapter.r", "-1")] == ["adapter.r"]
    assert [problem.key for problem in drafted().wrong("adapter.r", "0")] == ["adapter.r"]
    assert not drafted().wrong("adapter.lora_alpha", "3")
    assert not drafted().wrong("adapter.r", "3")


@pytest.mark.parametrize("text", ["[data", "data = 3", "\xff", "[adapter]\nr = 1\nr = 2"])
def test_a_file_that_cannot_be_read_is_no_draft(text: str) -> None:
    Path("mine.toml").write_bytes(text.encode("latin-1"))
    assert draft.read("mine.toml", {}) is None
    assert draft.read("gone.toml", {}) is None


def test_comments_are_told_of_the_key_below_them() -> None:
    text = (
        "# Of the file.\n\n[adapter] # of the section\n"
        "# One line,\n# and another.\nr = 4 # beside\n"
        "# Not of alpha.\n\nlora_alpha = 8\n[data]\n# Where.\nsources = [\n  # Inside.\n"
        '  { path = "# no comment" },\n]\nseed = 1\n'
    )
    told = recipe_keys.comments_of(text)
    assert told == {"adapter.r": "One line, and another. beside", "data.sources": "Where."}


TEXT = st.text(st.characters(exclude_categories=["Cs"]))
TREE = st.recursive(
    TEXT | st.booleans() | st.integers(-(2**60), 2**60) | st.floats(allow_nan=False),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3),
    max_leaves=6,
)


@given(TREE)
def test_a_value_survives_its_own_text(value: Any) -> None:
    text = toml_text.of_setting(value)
    assert toml_document.settings("", Path(), [f"any.key={text}"])["any"]["key"] == value
    assert text.isprintable() or not text.isascii()
    assert not any(char in text for char in "\n\t\x1b\x9b\x7f\u202e\u200b\ufeff")
