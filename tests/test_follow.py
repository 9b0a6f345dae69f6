"""Following a run from a terminal or a pipe: what is shown, what signals do, what it exits with."""

import fcntl
import json
import os
import pty
import signal
import subprocess
import sys
import termios
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from flat_steps import flat_step

from engine.events import Done, Failed, Hello, Phase, Plan, Sample, Step, Warned, encode
from engine.run import rundir
from engine.run.rundir import RunDir
from tests import command
from tests.asked import request
from workbench.run_view.run_facts import of_last_step
from workbench.run_view.run_reader import RunReader

ROOT = Path(__file__).parents[1]
FOLLOW = """
import sys
from pathlib import Path
from engine.run.rundir import RunDir
from workbench.cli import exit_code_of
from workbench.commands import follow
run, as_json = RunDir(Path(sys.argv[1])), sys.argv[2] == "json"
print("ready", file=sys.stderr, flush=True)
sys.exit(exit_code_of(lambda: follow.follow(run, as_json=as_json)))
"""
ENGINE = """
import sys
from pathlib import Path
from engine.run import lock
from engine.run.rundir import RunDir, append_line
run = RunDir(Path(sys.argv[1]))
fd = lock.hold(run.lock, lock.ENGINE)
print("up", flush=True)
for line in sys.stdin.buffer:
    append_line(run.events, line)
    if b'"kind": "done"' in line or b'"kind": "failed"' in line:
        print("said its last word", flush=True)
        if sys.argv[2:] != ["lingers"]:
            break
"""
HELLO = Hello(schema=1, job="train", pid=1, host="a\x1b[2Jhost", version="0")
PLAN = Plan(
    model="embedded", device="cpu", dtype="float32", parameters=10, trainable_parameters=2,
    target_modules=("q",), vocab_size=4096, rows=3, dropped={"empty": 1}, truncated_rows=0,
    tokens=100, supervised_tokens=40, total_steps=2, epochs=1.0, template_hash="a",
    data_fingerprint="b", reasons={"dtype": "the CPU has no bfloat16"},
)  # fmt: skip
SAMPLE = Sample(step=2, prompt="Who?", base="no \x1b]0;idea\x07", adapter="한국")
DONE = Done(steps=2, loss=0.5, token_accuracy=0.9, elapsed_s=2.0, adapter="adapter")
STOPPED = Done(
    steps=2, loss=0.5, token_accuracy=0.9, elapsed_s=2.0, adapter="adapter", stopped_by="someone"
)
FAILED = Failed(phase="data", error="bad row", hint="Mend it", log="engine.log")


def step(number: int, loss: float | None = 1.5) -> Step:
    return flat_step(
        step=number, epoch=0.5, loss=loss, token_accuracy=0.5, learning_rate=1e-3, grad_norm=1.0,
        tokens=10 * number, supervised_tokens=5 * number, tokens_per_s=10.0,
        elapsed_s=float(number), allocated_gib=None, reserved_gib=None, rss_gib=0.5,
    )  # fmt: skip


class Engine:
    """A process that holds a run's lock and appends what it is told to."""

    def __init__(self, run: RunDir, *ways: str) -> None:
        self.process = subprocess.Popen(
            [sys.executable, "-c", ENGINE, str(run.path), *ways],
            cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
        )  # fmt: skip
        assert self.process.stdin
        assert self.process.stdout
        self._pen, self._reply = self.process.stdin, self.process.stdout
        assert self.reply() == b"up\n"

    def reply(self) -> bytes:
        return self._reply.readline()

    def append(self, *lines: bytes) -> None:
        self._pen.write(b"".join(lines))
        self._pen.flush()

    def end(self) -> None:
        if not self._pen.closed:
            self.process.communicate(timeout=20)


@pytest.fixture
def run(tmp_path: Path) -> RunDir:
    return rundir.create(b"", request(), tmp_path / "run")


@pytest.fixture
def engine(run: RunDir) -> Iterator[Engine]:
    writer = Engine(run)
    yield writer
    writer.end()


def follow(run: RunDir, view: str = "lines", **settings: Any) -> "subprocess.Popen[bytes]":
    """Start a follower; returns once it is about to take the signals."""
    settings = {"stdout": subprocess.PIPE, "stderr": subprocess.PIPE, **settings}
    process = subprocess.Popen(
        [sys.executable, "-c", FOLLOW, str(run.path), view], cwd=ROOT, **settings
    )
    assert process.stderr
    assert process.stderr.readline() == b"ready\n"
    return process


def finish(process: "subprocess.Popen[bytes]") -> tuple[int, str, str]:
    code, out, err = command.finish(process, 20)
    assert "Traceback" not in out + err
    return code, out, err


def status(process: "subprocess.Popen[bytes]") -> str:
    return Path(f"/proc/{process.pid}/status").read_text()


def unread(process: "subprocess.Popen[bytes]") -> int:
    """Bytes that wait in the pipe of a process, most of which holds 65536."""
    return int.from_bytes(fcntl.ioctl(process.stdout, termios.FIONREAD, b"\0" * 4), sys.byteorder)


def listens(process: "subprocess.Popen[bytes]") -> bool:
    """Whether a follower has taken the signals; SIGHUP is the last of them."""
    caught = next(line for line in status(process).splitlines() if line.startswith("SigCgt"))
    return bool(int(caught.split()[1], 16) >> (signal.SIGHUP - 1) & 1)


def wishes(run: RunDir) -> list[dict[str, str]]:
    lines = run.control.read_bytes().splitlines() if run.control.exists() else []
    return [json.loads(line) for line in lines]


def recorded(run: RunDir, *written: Any) -> RunDir:
    run.events.write_bytes(b"".join(map(encode, written)))
    return run


def test_a_run_that_is_done_exits_0_and_shows_all(run: RunDir) -> None:
    warned = Warned(code="a", message="rows are short", fix="Add some")
    code, out, err = finish(
        follow(recorded(run, HELLO, PLAN, step(1), step(2, None), warned, SAMPLE, DONE))
    )
    assert (code, err) == (0, "")
    for shown in (
        "loss 1.500", "loss not a number", "1/2", "left out  1 empty", "no bfloat16",
        "warning: rows are short. Add some", "한국", "done  2 steps in 0:02",
        str(run.path / "adapter"),
    ):  # fmt: skip
        assert shown in out
    assert "\x1b" not in out
    assert "\x07" not in out


@pytest.mark.parametrize(("last", "code"), [(DONE, 0), (FAILED, 1), (STOPPED, 143)])
def test_the_last_event_is_the_exit_code(run: RunDir, last: Any, code: int) -> None:
    assert finish(follow(recorded(run, HELLO, last)))[0] == code


def test_damaged_lines_are_left_out_and_counted(run: RunDir) -> None:
    """Torn, of zeros, of letters that are none, and of a kind that comes later."""
    damaged = [b'{"kind": "step", "st', b"\0" * 40, b"\xff\xfe", b'{"kind": "mood", "t": 0}']
    run.events.write_bytes(b"\n".join([encode(step(1))[:-1], *damaged, encode(DONE)]))
    code, out, _ = finish(follow(run))
    assert code == 0
    assert "4 lines of its events are damaged" in out
    watch = RunReader(run)
    watch.read()
    assert watch.run.unread_lines == 4
    assert ("unread lines", "4", "warn") in of_last_step(watch.run)


def test_a_failure_is_told_with_its_hint(run: RunDir) -> None:
    _, out, _ = finish(follow(recorded(run, HELLO, FAILED)))
    assert "failed while data: bad row" in out
    assert "Mend it" in out
    assert "engine.log" in out


def test_a_run_that_died_exits_1_with_the_cause(run: RunDir, engine: Engine) -> None:
    engine.append(encode(HELLO), encode(step(1)), b'{"kind": "step", "st\n')
    viewer = follow(run)
    run.ending.write_text('{"exit": null, "signal": 9}')
    engine.process.kill()
    engine.process.wait()
    code, out, _ = finish(viewer)
    assert code == 1
    assert "signal 9" in out
    assert str(run.log) in out


def test_nothing_is_written_after_the_command(run: RunDir) -> None:
    """So that a script can copy the folder once it has ended."""
    engine = Engine(run, "lingers")
    viewer = follow(run)
    engine.append(encode(HELLO), encode(DONE))
    assert engine.reply() == b"said its last word\n"
    with pytest.raises(subprocess.TimeoutExpired):
        viewer.wait(1)
    engine.end()
    assert finish(viewer)[0] == 0


def test_a_live_run_is_followed_to_its_end(run: RunDir, engine: Engine) -> None:
    viewer = follow(run)
    engine.append(encode(HELLO))
    assert viewer.stdout
    assert b"process 1" in viewer.stdout.readline()
    engine.append(encode(step(1))[:40])
    engine.append(encode(step(1))[40:], encode(DONE))
    code, out, _ = finish(viewer)
    assert code == 0
    assert "loss 1.500" in out


def test_json_is_the_file_byte_for_byte(run: RunDir, engine: Engine) -> None:
    lines = [encode(HELLO), b'{"kind":"mood",  "x": 1}\n', b"nonsense\n", encode(SAMPLE)]
    engine.append(*lines)
    viewer = follow(run, "json")
    command.wait(lambda: listens(viewer), 20)
    viewer.send_signal(signal.SIGINT)
    command.wait(lambda: wishes(run), 20)
    engine.append(encode(STOPPED))
    out, err = viewer.communicate(timeout=20)
    assert viewer.returncode == 130
    assert out == b"".join([*lines, encode(STOPPED)])
    assert b"stopping" in err


@pytest.mark.parametrize(("last", "code"), [(STOPPED, 130), (DONE, 0), (FAILED, 1)])
def test_ctrl_c_asks_once_and_stays(run: RunDir, engine: Engine, last: Any, code: int) -> None:
    viewer = follow(run)
    command.wait(lambda: listens(viewer), 20)
    viewer.send_signal(signal.SIGINT)
    assert viewer.stdout
    assert b"stopping after this step" in viewer.stdout.readline()
    assert wishes(run) == [{"want": "stop", "by": "Ctrl-C"}]
    assert viewer.poll() is None
    engine.append(encode(step(1)), encode(last))
    assert finish(viewer)[0] == code
    assert len(wishes(run)) == 1


def test_a_second_ctrl_c_leaves_the_run(run: RunDir, engine: Engine) -> None:
    viewer = follow(run)
    command.wait(lambda: listens(viewer), 20)
    viewer.send_signal(signal.SIGINT)
    command.wait(lambda: wishes(run), 20)
    viewer.send_signal(signal.SIGINT)
    code, out, _ = finish(viewer)
    assert code == 130
    assert f"gemma-bench attach {run.path}" in out
    assert len(wishes(run)) == 1
    assert run.is_alive()


@pytest.mark.parametrize(("number", "code"), [(signal.SIGTERM, 143), (signal.SIGHUP, 129)])
def test_a_viewer_that_is_ended_asks_nothing(
    run: RunDir, engine: Engine, number: int, code: int
) -> None:
    viewer = follow(run)
    command.wait(lambda: listens(viewer), 20)
    viewer.send_signal(number)
    assert finish(viewer)[0] == code
    assert not run.control.exists()
    assert run.is_alive()


def test_slurm_s_signal_asks_and_waits(run: RunDir, engine: Engine) -> None:
    """`--signal=USR1@120` reaches the viewer too, which would end by it."""
    viewer = follow(run)
    command.wait(lambda: listens(viewer), 20)
    viewer.send_signal(signal.SIGUSR1)
    command.wait(lambda: wishes(run), 20)
    assert viewer.poll() is None
    engine.append(encode(STOPPED))
    code, out, _ = finish(viewer)
    assert code == 143
    assert "stopping after this step, then saving\n" in out


def test_ctrl_c_is_heard_while_nobody_reads(run: RunDir, engine: Engine) -> None:
    """The handler runs inside a print that waits for the pipe; it must not print there."""
    engine.append(*(encode(Phase(name="data", detail="x" * 1000)) for _ in range(300)))
    viewer = follow(run)
    command.wait(lambda: listens(viewer), 20)
    command.wait(lambda: unread(viewer) > 60_000 and "S (sleeping)" in status(viewer), 20)
    viewer.send_signal(signal.SIGINT)
    command.wait(lambda: wishes(run), 20)
    engine.append(encode(STOPPED))
    code, out, err = finish(viewer)
    assert (code, err) == (130, "")
    assert out.count("data: xxx") == 300


@pytest.mark.parametrize("view", ["lines", "json"])
def test_a_reader_that_goes_is_no_error(run: RunDir, engine: Engine, view: str) -> None:
    viewer = follow(run, view)
    assert viewer.stdout
    engine.append(encode(HELLO))
    viewer.stdout.readline()
    viewer.stdout.close()
    assert viewer.stderr
    while viewer.poll() is None:
        engine.append(encode(step(1)))
    assert viewer.returncode == 0
    assert viewer.stderr.read() == b""


def test_letters_that_can_not_be_printed_are_no_error(run: RunDir) -> None:
    env = {**os.environ, "PYTHONIOENCODING": "ascii"}
    recorded(run, HELLO, step(1), step(2), step(3), SAMPLE, DONE)
    process = subprocess.run(
        [command.COMMAND, "attach", str(run.path)], env=env, capture_output=True, check=False
    )
    assert (process.returncode, process.stderr) == (0, b"")
    assert rb"\ud55c\uad6d" in process.stdout


def test_a_terminal_shows_one_line_of_progress(run: RunDir) -> None:
    recorded(run, HELLO, PLAN, *(step(number) for number in range(1, 3)), DONE)
    ours, theirs = pty.openpty()
    viewer = follow(run, stdout=theirs)
    os.close(theirs)
    shown = b""
    while b"adapter " not in shown:
        shown += os.read(ours, 4096)
    assert viewer.wait(20) == 0
    assert shown.count(b"\r\x1b[2K") <= 2
    assert b"done  2 steps in 0:02" in shown
    os.close(ours)
