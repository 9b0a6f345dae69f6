"""Prompts that were saved can be pasted into a recipe, and nothing of the user's is lost."""

from pathlib import Path

import pytest
from test_plain import HOSTILE

from engine.recipe import validate
from workbench.sessions import saved_prompts

PROMPTS = [
    'Say "a\\b" and 한국어 🌰',
    "[/path] {x}",
    "two\nlines\tand a tab",
    "\x7f",
    *HOSTILE.values(),
]
PROMPTS = [prompt for prompt in PROMPTS if "\ud83d" not in prompt]


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))


def test_all_of_them_stand_there_in_order() -> None:
    assert saved_prompts.read() == []
    for prompt in PROMPTS:
        assert saved_prompts.save(prompt)
    assert saved_prompts.read() == PROMPTS
    assert saved_prompts.path().stat().st_mode & 0o077 == 0


def test_what_is_saved_already_is_not_saved_again() -> None:
    assert saved_prompts.save("a")
    assert not saved_prompts.save("a")
    assert saved_prompts.read() == ["a"]


def test_a_terminal_can_show_the_file() -> None:
    for prompt in PROMPTS:
        saved_prompts.save(prompt)
    text = saved_prompts.path().read_text()
    assert all(char.isprintable() or char == "\n" for char in text)


def test_a_recipe_takes_them_as_they_stand(tmp_path: Path) -> None:
    for prompt in PROMPTS:
        saved_prompts.save(prompt)
    (tmp_path / "rows.jsonl").write_text('{"messages": []}\n')
    recipe = tmp_path / "mine.toml"
    written = saved_prompts.path().read_text()
    recipe.write_text(f'[data]\nsources = [{{ path = "rows.jsonl" }}]\n{written}')
    assert list(validate.load(str(recipe), [])[0].samples.prompts) == PROMPTS


@pytest.mark.parametrize(
    "damage", [b"[samples", b"samples = 3", b"[samples]\nprompts = [1]", b"\xff\xfe"]
)
def test_a_damaged_file_is_left_as_it_is(damage: bytes) -> None:
    file = saved_prompts.path()
    file.parent.mkdir(parents=True)
    file.write_bytes(damage)
    with pytest.raises(ValueError, match=r"."):
        saved_prompts.save("a")
    assert file.read_bytes() == damage
