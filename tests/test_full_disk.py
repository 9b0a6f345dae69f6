"""A disk that fills while a run trains ends nothing that could go on, and loses nothing saved.

On a small file system of its own, as the system has it: no error here is made up.
"""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from engine.run import checkpoint_manifest, supervise
from engine.run.rundir import RunDir, RunStatus, State
from tests import command
from workbench import launch

ROOT = Path(__file__).parents[1]
SIZE_MIB = 48
EVERY = 5
SETTINGS = ["--set", "training.max_steps=20", "--set", f"training.save_steps={EVERY}",
            "--set", "samples.every=0", "--set", "samples.max_new_tokens=4",
            "--set", "score.max_new_tokens=4", "--set", "adapter.r=32"]  # fmt: skip


@pytest.fixture
def small(tmp_path: Path) -> Iterator[Path]:
    """A folder on a file system of a few MiB."""
    folder = tmp_path / "small"
    folder.mkdir()
    size = f"size={SIZE_MIB}m"
    mount = subprocess.run(["mount", "-t", "tmpfs", "-o", size, "none", folder], check=False)
    if mount.returncode:
        pytest.skip("needs the right to mount")
    try:
        yield folder
    finally:
        subprocess.run(["umount", "-l", folder], check=True)


def fill(folder: Path) -> Path:
    """Take all the room that is left."""
    path = folder / "filler"
    with path.open("ab", buffering=0) as file:
        for size in (1 << 16, 1):
            try:
                while file.write(b"x" * size):
                    pass
            except OSError:
                continue
    return path


def started(folder: Path, *settings: str) -> tuple[RunDir, "subprocess.Popen[bytes]"]:
    """A run on the small disk that has told a checkpoint, and its viewer."""
    viewer = command.start(folder, "run", "quickstart", "--out", "run", *SETTINGS, *settings)
    run = RunDir(folder / "run")
    command.wait(lambda: "checkpoint" in command.kinds(run))
    return run, viewer


def test_a_run_on_a_disk_that_fills_ends_with_its_adapter(small: Path) -> None:
    run, viewer = started(small)
    filler = fill(small)
    code, out, err = command.finish(viewer)
    assert code == 0, out + err
    assert "Traceback" not in run.log.read_text(errors="replace")
    command.wait(run.ending.exists)
    assert json.loads(run.ending.read_bytes())["exit"] == 0
    last = command.readable_records(run)[-1]
    assert (last["kind"], last["steps"]) == ("done", 20)
    assert (run.adapter / "adapter_model.safetensors").stat().st_size > 1000
    assert checkpoint_manifest.newest(run)[0] is not None
    filler.unlink()


def test_a_run_that_is_to_stop_for_it_says_why_and_goes_on_later(small: Path) -> None:
    run, viewer = started(small, "--set", "training.on_failed_save=stop")
    filler = fill(small)
    code, out, _ = command.finish(viewer)
    words = f"the disk is full, 0.0 MiB free on {small}"
    assert code == 1
    assert words in out
    command.wait(run.ending.exists)
    assert words in json.loads(run.ending.read_bytes())["cause"]
    last = command.readable_records(run)[-1]
    assert last["kind"] == "failed"
    assert words in last["error"]
    assert words in run.state().cause
    told = max(r["step"] for r in command.readable_records(run) if r["kind"] == "step")
    saved, _ = checkpoint_manifest.newest(run)
    assert saved is not None
    assert told - saved.step <= EVERY
    filler.unlink()
    code, out, err = command.call(small, "resume", "run")
    assert code == 0, out + err


def test_an_engine_that_can_say_no_last_word_is_told_by_its_supervisor(small: Path) -> None:
    """By its exit code and by what was free then; the ending had its room from the beginning."""
    run = RunDir(small / "run")
    run.path.mkdir()
    run.request.touch()
    program = "import sys; sys.stdin.read(); sys.exit(1)"
    line = [
        sys.executable, "-I", "-S", supervise.__file__, str(run.lock), str(run.ending),
        sys.executable, "-c", program,
    ]  # fmt: skip
    supervisor = subprocess.Popen(line, stdin=subprocess.PIPE)
    command.wait(run.is_alive)
    command.wait(run.ending.with_name("exit.json.part").exists)
    fill(small)
    supervisor.communicate(timeout=60)
    words = f"the disk is full, 0.0 MiB free on {small}"
    assert json.loads(run.ending.read_bytes())["cause"] == words
    assert run.state() == State(RunStatus.DIED, f"exit code 1 without a last word: {words}")
    assert words in command.call(small, "attach", "run")[1]


PRINTS = """
import sys
from engine.run import forgiving_output
forgiving_output.install()
import logging, warnings
for stream in (sys.stdout, sys.stderr):
    print("x" * 100_000, file=stream, flush=True)
    stream.buffer.write(b"y" * 10)
logging.warning("z")
warnings.warn("w")
open(sys.argv[1], "w").write("alive")
"""


@pytest.mark.parametrize("kind", ["full", "closed pipe", "closed"])
def test_output_that_is_not_taken_is_lost(tmp_path: Path, kind: str) -> None:
    told = tmp_path / "told"
    given = [sys.executable, "-c", PRINTS, str(told)]
    if kind == "full":
        with open("/dev/full", "w") as full:
            code = subprocess.run(given, cwd=ROOT, stdout=full, stderr=full, check=False).returncode
    elif kind == "closed pipe":
        reader, writer = os.pipe()
        os.close(reader)
        code = subprocess.run(given, cwd=ROOT, stdout=writer, stderr=writer).returncode
        os.close(writer)
    else:
        shell = ["sh", "-c", '"$@" >&- 2>&-', "sh", *given]
        code = subprocess.run(shell, cwd=ROOT, check=False).returncode
    assert code == 0
    assert told.read_text() == "alive"


def laid_down(folder: Path) -> RunDir:
    """A run that no engine has begun."""
    overrides = [text for text in SETTINGS if text != "--set"]
    return launch.propose("quickstart", overrides, "cpu", folder / "run").make()


def test_a_log_that_is_full_doesn_t_end_a_run(tmp_path: Path) -> None:
    """Before, a line that a library printed ended it, and then the traceback ended that."""
    run = laid_down(tmp_path)
    with open("/dev/full", "w") as full:
        line = [sys.executable, "-m", "engine", "train", str(run.path)]
        code = subprocess.run(line, cwd=ROOT, stdout=full, stderr=full, check=False).returncode
    assert code == 0
    assert command.kinds(run)[-1] == "done"


def test_a_limit_of_file_sizes_is_a_full_disk(tmp_path: Path) -> None:
    """As ulimit -f sets it: adapters are beyond it, events are not."""
    run = laid_down(tmp_path)
    shell = f'ulimit -f 200; "{sys.executable}" -m engine train "{run.path}"'
    done = subprocess.run(["bash", "-c", shell], cwd=ROOT, capture_output=True, check=False)
    last = command.records(run)[-1]
    assert (done.returncode, last["kind"]) == (1, "failed")
    assert "ulimit -f" in last["error"]
