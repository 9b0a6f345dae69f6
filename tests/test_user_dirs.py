"""The user's folders: one derivation, as the XDG base directory specification has it."""

from collections.abc import Callable
from pathlib import Path

import pytest

from engine import user_dirs
from workbench.patches import driver

HOME = Path("/home/u")


@pytest.mark.parametrize(
    ("folder", "variable", "usual"),
    [
        (user_dirs.cache, "XDG_CACHE_HOME", ".cache"),
        (user_dirs.config, "XDG_CONFIG_HOME", ".config"),
        (user_dirs.data, "XDG_DATA_HOME", ".local/share"),
        (user_dirs.state, "XDG_STATE_HOME", ".local/state"),
    ],
)
@pytest.mark.parametrize("value", [None, "", "rel", "./rel", "/x"])
def test_only_an_absolute_path_takes_the_place_of_the_usual_one(
    folder: Callable[[], Path],
    variable: str,
    usual: str,
    value: str | None,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("HOME", str(HOME))
    monkeypatch.delenv("GEMMA_BENCH_CACHE", raising=False)
    monkeypatch.delenv(variable, raising=False)
    if value is not None:
        monkeypatch.setenv(variable, value)
    expected = Path("/x") if value == "/x" else HOME / usual
    assert folder() == expected / "gemma-bench"


def test_the_cache_has_a_variable_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", "/x")
    monkeypatch.setenv("GEMMA_BENCH_CACHE", "/own")
    assert user_dirs.cache() == Path("/own")


def test_a_crash_is_told_among_the_users_files(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("HOME", str(tmp_path))
    monkeypatch.setenv("XDG_STATE_HOME", "rel")
    monkeypatch.chdir(tmp_path)
    path = driver._write_crash(ValueError("broke"))
    assert path == tmp_path / ".local/state/gemma-bench/crash.log"
    assert "broke" in path.read_text()
