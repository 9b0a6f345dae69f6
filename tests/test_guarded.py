"""Whatever stands where a path leads is read within bounds, or refused in words; nothing waits."""

import os
from pathlib import Path

import pytest

from engine import guarded, user_dirs
from engine.problems import Refusal
from engine.recipe import nearby, validate
from engine.sessions import doctor_report
from workbench.recipe_editor import draft
from workbench.sessions import saved_prompts
from workbench.text import saved_theme

DIGITS = b"[training]\nseed = " + b"9" * 5_000
RECIPES = {
    "deep": (b"a = " + b"[" * 100_000, "nested deeper than 64"),
    "deeper": (b"a = " + b"[" * 200 + b"]" * 200, "nested deeper than 64"),
    "tables": (b"a = " + b"{a=" * 300 + b"1" + b"}" * 300, "nested deeper than 64"),
    "key": (b".".join([b"a"] * 60_000) + b" = 1", "nested deeper than 64"),
    "quoted": (b" . ".join([b'"a b"'] * 30_000) + b" = 1", "nested deeper than 64"),
    "digits": (DIGITS, "more than 40 digits"),
    "hex": (b"[training]\nseed = 0x" + b"f" * 5_000, "more than 40 digits"),
    "long": (b"#" * (1 << 19), "longer than 256 KiB"),
}


@pytest.mark.parametrize("kind", RECIPES)
def test_a_recipe_out_of_bounds_is_refused_and_blamed(tmp_path: Path, kind: str) -> None:
    content, words = RECIPES[kind]
    path = tmp_path / "mine.toml"
    path.write_bytes(content)
    with pytest.raises(Refusal, match=words) as refused:
        validate.load(str(path), [])
    assert refused.value.where == str(path)
    assert draft.read(str(path), {}) is None


def test_an_override_out_of_bounds_is_blamed_itself() -> None:
    for value in ("[" * 5_000, "9" * 5_000):
        with pytest.raises(Refusal) as refused:
            validate.load("quickstart", [f"training.seed={value}"])
        assert refused.value.where == "--set"
        assert len(str(refused.value)) < 300


def test_recipes_of_the_folder_are_listed_beside_damaged_ones(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    for kind, (content, _) in RECIPES.items():
        Path(f"{kind}.toml").write_bytes(content)
    Path("mine.toml").write_text("[data]\nsources = []\n")
    os.mkfifo("pipe.toml")
    assert "mine.toml" in nearby.recipes()
    assert "pipe.toml" not in nearby.recipes()


def test_the_users_own_files_are_read_within_bounds(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path))
    user_dirs.data().mkdir(parents=True)
    for name in ("theme", "prompts.toml", "doctor.json", "calibration.json"):
        os.mkfifo(user_dirs.data() / name)
    assert saved_theme.read() == ""
    assert doctor_report.load({}) is None
    with pytest.raises(guarded.Unreadable, match="named pipe"):
        saved_prompts.read()


def test_names_are_told_by_the_first_few() -> None:
    assert guarded.first_few(map(str, range(3))) == "0, 1, 2"
    told = guarded.first_few((f"column {n}" for n in range(5_000)), 3)
    assert told == "column 0, column 1, column 2 and 4,997 more"
    assert len(guarded.first_few(["x" * 10_000])) < 100
