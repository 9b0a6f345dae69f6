"""A cache that can't be used stops no work; what takes its place is private, and told of once."""

import os
import stat
from pathlib import Path

import pytest

from engine import user_dirs
from engine.data.cache_folder import cache_folder
from engine.run.rundir import RunDir
from tests import command


def test_a_folder_of_the_users_own_is_used_and_is_private(tmp_path: Path) -> None:
    wanted = tmp_path / "a" / "cache"
    with cache_folder(wanted) as folder:
        assert (folder.path, folder.why_temporary) == (wanted, "")
    assert stat.S_IMODE(wanted.stat().st_mode) == 0o700


@pytest.mark.parametrize("kind", ["file in the way", "foreign", "no home", "full of nothing"])
def test_another_takes_its_place(
    tmp_path: Path, kind: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    wanted, words = tmp_path / "cache", "can't be written to"
    if kind == "file in the way":
        wanted.write_text("")
    elif kind == "foreign":
        if os.geteuid():
            pytest.skip("needs the right to give a folder away")
        wanted.mkdir()
        os.chown(wanted, 12345, 12345)
        words = "belongs to another user"
    elif kind == "no home":
        for name in ("HOME", "XDG_CACHE_HOME", "GEMMA_BENCH_CACHE"):
            monkeypatch.delenv(name, raising=False)
        monkeypatch.setattr(os.path, "expanduser", lambda path: path)  # as for an unknown number
        wanted = user_dirs.cache()
    else:
        wanted = Path("/proc/self/cache")
    shared = Path("/tmp/gemma-bench")
    was_there = shared.exists()
    with cache_folder(wanted) as folder:
        assert folder.path != wanted
        assert words in folder.why_temporary
        assert str(wanted) in folder.why_temporary
        assert stat.S_IMODE(folder.path.stat().st_mode) == 0o700
        assert folder.path.stat().st_uid == os.geteuid()
        assert folder.path.name != "gemma-bench"
    assert not folder.path.exists()
    assert shared.exists() == was_there


@pytest.mark.slow
def test_a_run_without_a_home_to_write_in(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As in containers and on shared machines."""
    for name in ("XDG_CACHE_HOME", "XDG_DATA_HOME", "XDG_STATE_HOME", "GEMMA_BENCH_CACHE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("HOME", "/proc/self")
    short = ["--set", "training.max_steps=2", "--set", "samples.every=0",
             "--set", "samples.max_new_tokens=2", "--set", "score.max_new_tokens=2"]  # fmt: skip
    code, out, err = command.call(tmp_path, "run", "quickstart", "--out", "run", *short)
    assert code == 0, out + err
    told = [r for r in command.records(RunDir(tmp_path / "run")) if r["kind"] == "warning"]
    assert [r["code"] for r in told].count("not_cached") == 1
    shared = tmp_path / "shared"
    shared.mkdir()
    shared.chmod(0o1777)
    if os.geteuid() == 0:
        os.chown(shared, 12345, 12345)
    monkeypatch.setenv("TMPDIR", str(shared))
    (tmp_path / "rows.csv").write_text("question,answer\nWhat?,That.\n")
    (tmp_path / "recipe.toml").write_text('[data]\nsources = [{ path = "rows.csv" }]\n')
    code, out, err = command.call(tmp_path, "preview", "recipe.toml")
    assert code == 0, err
    assert "That." in out
    assert [*shared.glob("gemma-bench*")] == []
