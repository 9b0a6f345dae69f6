"""Disks without locks (Lustre, some NFS and FUSE), without flushes of folders, without modes."""

import errno
import json
import os
import subprocess
import sys
from pathlib import Path

import pytest
from odd_disk import NEEDS_GCC, Odd, library, odd
from recording import lay_down, load
from terminal import APP, Tmux

from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir
from tests import command

ROOT = Path(__file__).parents[1]
NAME = "2026-11-21-0930-mine"
NO_LOCKS = [errno.ENOLCK, errno.ENOSYS, errno.EOPNOTSUPP, errno.EINVAL]
pytestmark = NEEDS_GCC


@pytest.fixture(scope="module")
def odd_library(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return library(tmp_path_factory.mktemp("library"), "odd_disk")


@pytest.fixture
def odd_here(odd_library: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Odd:
    return odd(monkeypatch, odd_library, tmp_path)


@pytest.fixture
def half_way(tmp_path: Path) -> RunDir:
    """A run that told some steps, and whose engine is not at work."""
    run = lay_down(tmp_path / "runs", NAME, load("healthy")[:30])
    run.lock.touch()
    return run


def everything(folder: Path) -> list[Path]:
    return sorted(folder.rglob("*"))


@pytest.mark.parametrize("error", NO_LOCKS)
def test_a_run_without_locks_is_refused_and_leaves_nothing(
    error: int, odd_here: Odd, tmp_path: Path
) -> None:
    odd_here(LOCKS=error)
    for out in ([], ["--out", "a/b"]):
        code, said, err = command.call(tmp_path, "--run", "quickstart", *out)
        assert (code, said, err.count("gemma-bench: ")) == (2, "", 1)
        assert err.startswith(f"gemma-bench: {'a/b' if out else 'runs/'}")
        assert "grants no locks" in err
        assert "--out" in err
    assert everything(tmp_path) == []


@pytest.mark.parametrize("error", NO_LOCKS[:2])
def test_runs_on_such_a_disk_are_told_as_they_are(
    error: int, odd_here: Odd, half_way: RunDir, tmp_path: Path
) -> None:
    """Nobody waits for one, takes it for one at work, or for dead."""
    ended = lay_down(tmp_path / "runs", "2026-11-21-0931-ended", load("healthy"))
    odd_here(LOCKS=error)
    code, said, _ = command.call(tmp_path, "runs", "--json")
    states = {line["run"]: line for line in map(json.loads, said.splitlines())}
    assert (code, states[ended.name]["state"]) == (0, "done")
    assert states[NAME]["state"] == "damaged"
    assert "grants no locks" in states[NAME]["cause"]
    for arguments, expected in ((["attach", NAME], 1), (["stop", NAME], 2), (["resume", NAME], 2)):
        before = everything(tmp_path)
        code, said, err = command.call(tmp_path, *arguments)
        assert code == expected, arguments
        assert "grants no locks" in said + err
        assert everything(tmp_path) == before
    code, said, _ = command.call(tmp_path, "attach", ended.name)
    assert (code, "trained facts" in said) == (0, True)


def test_the_app_tells_it_too(odd_here: Odd, half_way: RunDir, tmp_path: Path) -> None:
    odd_here(LOCKS=errno.ENOLCK)
    with Tmux(tmp_path, APP, 120, 40) as terminal:
        terminal.until("starts the run")
        terminal.press("s")
        terminal.until("grants no locks")
        terminal.press("r")
        terminal.until("damaged")
        terminal.press("Enter")
        terminal.until("grants no locks")
        terminal.press("q")
        terminal.until("left with 0")
    assert [path.name for path in (tmp_path / "runs").iterdir()] == [NAME]


def test_a_temporary_folder_without_locks_is_named(
    odd_here: Odd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TMPDIR", str(tmp_path))
    odd_here(LOCKS=errno.ENOSYS)
    code, said, err = command.call(tmp_path, "preview", "quickstart")
    assert (code, said) == (2, "")
    assert err.startswith(f"gemma-bench: {tmp_path}: its file system grants no locks")
    assert "TMPDIR" in err
    assert everything(tmp_path) == []


def test_without_any_folder_for_temporary_files_that_is_told(odd_here: Odd, tmp_path: Path) -> None:
    odd_here(NEW=(errno.EROFS, Path("/")))
    code, said, err = command.call(tmp_path, "preview", "quickstart")
    assert (code, said, err.count("gemma-bench: ")) == (2, "", 1)
    assert err.startswith("gemma-bench: no folder for temporary files: ")
    assert "set TMPDIR to a folder" in err


@pytest.mark.parametrize("error", [errno.EINVAL, errno.EOPNOTSUPP, errno.EBADF, errno.ENOSYS])
def test_only_folders_may_lack_a_flush(error: int, odd_library: Path, tmp_path: Path) -> None:
    """What is written to a file is on the disk, or the disk's error is told."""
    code = "import sys; from pathlib import Path; from engine import atomic; "
    code += "atomic.sync_folder(Path(sys.argv[1])); print('passed over', flush=True); "
    code += "atomic.write_whole(Path(sys.argv[1], 'file'), b'content')"
    odd = dict.fromkeys(("ODD_FOLDER_SYNC", "ODD_FILE_SYNC"), f"{error}:{tmp_path}")
    done = subprocess.run(
        [sys.executable, "-c", code, tmp_path], cwd=ROOT, capture_output=True, text=True,
        check=False, env={**os.environ, **odd, "LD_PRELOAD": str(odd_library)},
    )  # fmt: skip
    assert done.stdout == "passed over\n"
    assert f"[Errno {error}]" in done.stderr


def test_a_run_whose_last_save_fails_says_where_its_weights_are(
    odd_here: Odd, tmp_path: Path
) -> None:
    """On a disk that flushes no folder and knows no modes, which stop nothing.

    It is started where there are no locks, as the refusal there advises.
    """
    here, out = tmp_path / "here", tmp_path / "run"
    for folder in (here, out):
        folder.mkdir()
    run = RunDir(out)
    odd_here(LOCKS=(errno.ENOLCK, here), FOLDER_SYNC=(errno.EINVAL, out), MODES=(errno.EPERM, out))
    odd_here(FILE_SYNC=(errno.EIO, out / ".adapter"))
    start = ["run", "quickstart", *command.SHORT]
    assert "--out" in command.call(here, *start)[2]
    code, said, err = command.call(here, *start, "--out", str(out))
    assert (code, err) == (1, "")
    kept = "what was trained is kept in "
    place = Path(said.partition(kept)[2].partition(";")[0])
    assert place == run.checkpoint(6)
    command.wait(run.ending.exists)
    assert f"{kept}{place};" in json.loads(run.ending.read_bytes())["cause"]
    assert f"{kept}{place};" in command.records(run)[-1]["error"]
    assert f"{kept}{place};" in run.log.read_text()
    assert "checkpoint_failed" not in run.events.read_text()
    assert [step for step, _ in checkpoint_manifest.folders(run)] == [6, 3]
    odd_here(FILE_SYNC=(errno.EIO, here))
    code, said, err = command.call(tmp_path, "resume", "run")
    assert (code, err) == (0, "")
    weights = "adapter_model.safetensors"
    assert (run.adapter / weights).read_bytes() == (place / weights).read_bytes()
