"""A run's directory: how one is made or refused, found again, and what its files tell."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest

from engine.events import Done, Failed, Phase, encode
from engine.problems import Refusal
from engine.run import lock, rundir, runs
from engine.run.rundir import RunDir
from tests.asked import request

ROOT = Path(__file__).parents[1]
REQUEST = request(argv=("한국", "\udcff"))
DONE = Done(steps=1, loss=1.0, token_accuracy=0.5, elapsed_s=1.0, adapter="adapter")
HOLD = """
import sys
from pathlib import Path
from engine.run import lock
print(lock.hold(Path(sys.argv[1]), int(sys.argv[2])) is not None, flush=True)
sys.stdin.read()
"""
CREATE = """
import os, resource, sys
from pathlib import Path
from engine.run import rundir
from engine.problems import Refusal
from tests.asked import request
out, limit, user = sys.argv[1:]
asked = request()
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (int(limit or hard), hard))
if user:
    os.setgroups([])
    os.setgid(int(user))
    os.setuid(int(user))
try:
    print(rundir.create(b"# a recipe", asked, Path(out) if out else None).path)
except Refusal as refusal:
    print(refusal)
    sys.exit(refusal.exit_code)
"""


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A current folder of its own, under the usual umask."""
    monkeypatch.chdir(tmp_path)
    before = os.umask(0o022)
    yield tmp_path
    os.umask(before)


def create(out: str | None = None, name: str = "mine") -> RunDir:
    return rundir.create(b"# a recipe", replace(REQUEST, name=name), Path(out) if out else None)


def create_elsewhere(out: str, limit: str = "", user: str = "") -> "subprocess.Popen[bytes]":
    """Create a run in another process, where no file may be larger than that, as that user."""
    return subprocess.Popen(
        [sys.executable, "-c", CREATE, out, limit, user],
        env={**os.environ, "PYTHONPATH": str(ROOT)},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )


def mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


def everything() -> list[str]:
    return sorted(str(path) for path in Path().rglob("*"))


class Holder:
    """Another process that holds a byte of a run's lock until the end of the block."""

    def __init__(self, run: RunDir, byte: int = 0) -> None:
        self._command = [sys.executable, "-c", HOLD, str(run.lock.resolve()), str(byte)]

    def __enter__(self) -> None:
        self._process = subprocess.Popen(
            self._command, cwd=ROOT, stdin=subprocess.PIPE, stdout=subprocess.PIPE
        )
        assert self._process.stdout
        assert self._process.stdout.readline() == b"True\n"

    def __exit__(self, *_: object) -> None:
        self._process.communicate()


def test_a_run_is_made_for_its_owner_only() -> None:
    run = create()
    assert run.exists
    assert run.path.parent == Path("runs")
    assert run.name.endswith("-mine")
    assert mode(run.path) == 0o700
    assert {mode(path) for path in run.path.iterdir()} == {0o600}
    assert sorted(path.name for path in run.path.iterdir()) == ["recipe.toml", "request.json"]
    assert run.recipe.read_bytes() == b"# a recipe"
    assert run.read_request() == REQUEST
    assert "한국" in run.request.read_text()


def test_what_is_appended_is_for_the_owner_only() -> None:
    run = create("mine")
    run.ask("stop", "a test")
    run.write_plan({"a": 1})
    assert (mode(run.control), mode(run.plan)) == (0o600, 0o600)
    assert json.loads(run.control.read_text()) == {"want": "stop", "by": "a test"}


def test_names_that_are_taken_get_a_number() -> None:
    names = [create().name for _ in range(3)]
    assert len(set(names)) == 3
    assert names[0].endswith("-mine")
    assert {name.rpartition("-")[2] for name in names[1:]} <= {"mine", "2", "3"}


def test_runs_made_at_the_same_moment_are_apart() -> None:
    many = [create_elsewhere("") for _ in range(8)]
    paths = {process.communicate()[0] for process in many}
    assert [process.returncode for process in many] == [0] * 8
    assert len(paths) == 8


@pytest.mark.parametrize("name", ["a b", "../x", "a\n", "été", "x" * 60])
def test_a_recipe_name_that_is_no_folder_name_is_refused(name: str) -> None:
    with pytest.raises(Refusal, match="no name for a run directory") as refused:
        create(name=name)
    assert refused.value.exit_code == 2
    assert everything() == []


def test_out_is_the_run_itself() -> None:
    assert create("a/b/c").path == Path("a/b/c")
    assert mode(Path("a/b/c")) == 0o700
    Path("empty").mkdir(mode=0o755)
    create("empty")
    assert mode(Path("empty")) == 0o700


@pytest.mark.parametrize(
    ("out", "reason"),
    [
        ("full", "not empty"), ("file", "it is a file"), ("file/below", "file is a file"),
        ("x" * 300, "too long"), ("new/" + "x" * 300, "too long"), ("/proc/nowhere/run", "no such"),
        ("/sys/run", "permitted|permission|read-only"), ("dangling", "leads nowhere"),
    ],
)  # fmt: skip
def test_a_folder_that_can_not_be_taken_is_left_as_it_was(out: str, reason: str) -> None:
    Path("full").mkdir()
    Path("full/notes").touch()
    Path("file").touch()
    Path("dangling").symlink_to("/nowhere/at/all")
    before = everything()
    with pytest.raises(Refusal, match=reason) as refused:
        create(out)
    assert refused.value.exit_code == 2
    assert everything() == before


@pytest.mark.parametrize("limit", ["0", "20"])
@pytest.mark.parametrize("out", ["", "a/b/c", "empty"])
def test_a_full_disk_leaves_nothing_behind(here: Path, out: str, limit: str) -> None:
    Path("empty").mkdir()
    process = create_elsewhere(out, limit)
    told, trouble = process.communicate()
    assert (process.returncode, trouble) == (2, b"")
    assert b"file too large" in told
    assert everything() == ["empty"]


@pytest.mark.skipif(os.geteuid() != 0, reason="only root can be another user")
def test_a_folder_of_others_is_refused(here: Path) -> None:
    closed = here / "closed"
    closed.mkdir(mode=0o700)
    for folder in (here, *here.parents[:3]):
        folder.chmod(folder.stat().st_mode | 0o011)
    for out in ("closed", "closed/run"):
        process = create_elsewhere(str(here / out), user="65534")
        told, trouble = process.communicate()
        assert (process.returncode, trouble) == (2, b"")
        assert b"denied" in told


def test_a_run_that_is_there_is_not_overwritten() -> None:
    run = create("mine")
    run.events.write_bytes(encode(Phase(name="loading", detail="")))
    before = {path: path.read_bytes() for path in run.path.iterdir()}
    with pytest.raises(Refusal, match="holds a run already") as refused:
        create("mine")
    assert refused.value.exit_code == 2
    with Holder(run), pytest.raises(Refusal, match="gemma-bench attach mine") as refused:
        create("mine")
    assert refused.value.exit_code == 3
    assert {path: path.read_bytes() for path in run.path.iterdir() if path != run.lock} == before
    run.events.write_bytes(encode(DONE))
    with Holder(run), pytest.raises(Refusal, match="holds a run already"):
        create("mine")


@pytest.mark.parametrize("byte", [0, 1])
def test_alive_is_who_holds_the_lock(byte: int) -> None:
    run = create("mine")
    assert not run.is_alive()
    with Holder(run, byte):
        assert run.is_alive()
        run.lock.chmod(0o400)
        assert run.is_alive()
    assert not run.is_alive()


def test_who_is_refused_is_told_who_holds_the_lock() -> None:
    """As long as it lives; a number that another process has now names nobody."""
    run = create("mine")
    code = "import sys; from engine.run import lock; from pathlib import Path; "
    code += "lock.sign(lock.hold(Path(sys.argv[1]), lock.ENGINE)); print('up', flush=True); input()"
    holder = subprocess.Popen(
        [sys.executable, "-c", code, run.lock], stdin=subprocess.PIPE, stdout=subprocess.PIPE
    )
    assert holder.stdout
    assert holder.stdout.readline() == b"up\n"
    assert f"the run is at work (process {holder.pid})" in str(run.at_work())
    assert lock.hold(run.lock, lock.ENGINE) is None
    signed = json.loads(run.lock.read_bytes())
    assert lock.holder(run.lock) == f"process {holder.pid}"
    odd = ({"pid": float("inf")}, {"pid": float("nan")})
    for changed in ({"started": "1"}, {"boot_id": "another"}, {"pid": 1}, *odd):
        run.lock.write_text(json.dumps({**signed, **changed}))
        assert lock.holder(run.lock) == ""
    run.lock.write_text(json.dumps({**signed, "host": "another"}))
    assert lock.holder(run.lock) == f"process {holder.pid} on another"
    run.lock.write_bytes(b"[" * 100_000)
    assert lock.holder(run.lock) == ""
    holder.kill()
    holder.wait()
    held = lock.hold(run.lock, lock.ENGINE)
    assert held is not None
    os.close(held)


def test_a_live_run_is_starting_then_running() -> None:
    run = create("mine")
    with Holder(run):
        assert (run.state().name, run.state().is_alive) == ("starting", True)
        run.events.write_bytes(encode(Phase(name="loading", detail="")) + b'{"kind": "do')
        assert (run.state().name, run.state().is_alive) == ("running", True)


@pytest.mark.parametrize(
    ("last", "name", "cause"),
    [
        (encode(DONE), "done", ""),
        (encode(DONE).replace(b"}", b', "stopped_by": "Ctrl-C"}'), "stopped", "by Ctrl-C"),
        (encode(Failed(phase="data", error="bad row", hint="", log="engine.log")), "failed",
         "bad row"),
        (encode(DONE)[:-9], "died", "machine"),
        (encode(DONE) + b'{"kind": "mood"}\nnonsense\n', "done", ""),
        (b"x" * 100_000 + b"\n" + encode(DONE), "done", ""),
    ],
)  # fmt: skip
def test_the_last_event_tells_how_it_ended(last: bytes, name: str, cause: str) -> None:
    run = create("mine")
    run.events.write_bytes(encode(Phase(name="loading", detail="")) + last)
    state = run.state()
    assert (state.name, state.is_alive) == (name, False)
    assert cause in state.cause


@pytest.mark.parametrize(
    ("ending", "cause"),
    [
        ('{"exit": null, "signal": 9}', "signal 9: out of memory"),
        ('{"exit": null, "signal": 9, "oom_kills": {"machine": 0, "cgroup": 1}}', "its cgroup"),
        ('{"exit": null, "signal": 9, "oom_kills": {"machine": 1}}', "out of memory, as the mach"),
        ('{"exit": null, "signal": 9, "oom_kills": {"machine": 0}}', "9: kill -9"),
        ('{"exit": null, "signal": 9, "oom_kills": 5}', "machine"),
        ('{"exit": 143, "signal": null}', "at once by a second SIGTERM"),
        ('{"exit": null, "signal": 11}', "signal 11"),
        ('{"exit": 1, "signal": null}', "exit code 1"),
        ('{"exit":', "machine"),
        ('{"exit": 1}', "machine"),
        ("[]", "machine"),
        (None, "machine"),
    ],
)
def test_without_a_last_word_the_ending_tells(ending: str | None, cause: str) -> None:
    run = create("mine")
    run.events.write_bytes(encode(Phase(name="loading", detail="")))
    if ending:
        run.ending.write_text(ending)
    assert run.state().name == "died"
    assert cause in run.state().cause


def test_runs_are_listed_newest_first() -> None:
    assert runs.every() == []
    names = ["2026-01-02-0900-a", "2026-01-02-0901-b", "2025-12-31-2359-c"]
    names += ["2026-01-02-0901-a", "2026-01-02-0901-a-10", "2026-01-02-0901-a-2"]
    for age, name in enumerate(names):
        os.utime(create(f"runs/{name}").request, ns=(age, age * 10**9))
    Path("runs/notes.txt").touch()
    Path("runs/no-run").mkdir()
    expected = [names[i] for i in (5, 4, 3, 1, 0, 2)]
    assert [run.name for run in runs.every()] == expected


def test_a_link_out_of_the_runs_is_none_of_them() -> None:
    elsewhere, within = create("elsewhere"), create()
    (rundir.RUNS / "out").symlink_to(elsewhere.path.resolve())
    (rundir.RUNS / "in").symlink_to(within.path.resolve())
    assert {run.name for run in runs.every()} == {within.name, "in"}
    with pytest.raises(Refusal, match="leads out of the runs"):
        runs.find("out")
    assert runs.find(str(elsewhere.path)).path == elsewhere.path


def test_find_takes_name_path_or_the_newest() -> None:
    with pytest.raises(Refusal, match="no run here yet"):
        runs.find(None)
    old, new = create("runs/2026-01-02-0900-a"), create("runs/2026-01-02-0901-b")
    apart = create("apart")
    assert runs.find(old.name).path == old.path
    assert runs.find(str(apart.path)).path == apart.path
    assert runs.find(None).path == new.path
    with Holder(old):
        assert runs.find(None).path == old.path
    for name in ("nothing", "x" * 300, "runs"):
        with pytest.raises(Refusal, match=f"no such run.*newest: {new.name}, {old.name}"):
            runs.find(name)
