"""What tests share: tiny Gemmas of every architecture, and a scrubbed environment."""

import contextlib
import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Callable, Iterator
from itertools import count
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import settings as hypothesis_settings

from engine.run.rundir import RunDir

if TYPE_CHECKING:
    from engine.data.prepare import Prepared

KINDS = ("embedded", "gemma3", "gemma4_moe", "gemma4_multimodal")
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TORCHDYNAMO_DISABLE"] = "1"
os.environ["HF_HUB_DISABLE_TELEMETRY"] = "1"
"""As the engine has it."""
signal.signal(signal.SIGINT, signal.default_int_handler)
signal.signal(signal.SIGHUP, signal.SIG_DFL)
"""Where the tests were started in the background, commands under test would ignore them too."""
_CACHE = tempfile.TemporaryDirectory(prefix="gemma-bench-tests-")
os.environ["GEMMA_BENCH_CACHE"] = _CACHE.name
os.environ["XDG_DATA_HOME"] = f"{_CACHE.name}/data"
os.environ["XDG_CONFIG_HOME"] = f"{_CACHE.name}/config"
os.environ["XDG_STATE_HOME"] = f"{_CACHE.name}/state"
_NUMBERS = count()


hypothesis_settings.register_profile("same", derandomize=True, deadline=None, database=None)
hypothesis_settings.register_profile("drawn", deadline=None, database=None)
hypothesis_settings.load_profile("same")
"""What is drawn is the same every time; `python bench/nightly/draws.py` draws anew."""


SLOW_FILES = (
    "test_planted_bugs",
    "test_simulated_figures", "test_resume", "test_policies", "test_endings", "test_doctor_command",
    "test_generate_job", "test_hygiene", "test_terminal", "test_flat_memory", "test_ledger",
    "test_quickstart", "test_branch", "test_host_runs", "test_doctor", "test_simulated_step",
    "test_preview", "test_preview_command", "test_loop", "test_host_tables", "test_loss",
)  # fmt: skip
"""Where the minutes are. They are begun first, so that no core waits for one at the end."""


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers() -> int:
    """One more than there are cores: now and then a test waits for a terminal or a signal."""
    cores = os.sched_getaffinity(0) if sys.platform == "linux" else range(os.cpu_count() or 1)
    return 1 + len(cores)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Files stay whole, in their order but for the slow ones."""
    places = {name: place for place, name in enumerate(SLOW_FILES)}
    items.sort(key=lambda item: places.get(item.path.stem, len(places)))


def _fork_engines() -> None:
    """Engines of the tests are forked from a process that has imported torch and its like.

    Where it matters, `starts_anew` lets them start as they do for users; on other systems than
    Linux all do.
    """
    from workbench import launch

    if sys.platform != "linux":
        return
    folder = Path(_CACHE.name) / "forkserver"
    folder.mkdir()
    paths = [str(Path(__file__).with_name("forkserver")), os.environ.get("PYTHONPATH", "")]
    os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, paths))
    os.environ["GEMMA_BENCH_FORKSERVER"] = str(folder)
    environment = launch._environment("cpu") | launch._card("cpu")
    settings = {"environment": environment, "owner": os.getpid()}
    (folder / "settings.json").write_text(json.dumps(settings))


_fork_engines()


def _examined() -> None:
    """These versions count as examined, so that no test's run begins with the doctor's checks."""
    from engine import installed
    from engine.sessions import doctor_report

    doctor_report.keep(doctor_report.Diagnosis(installed.versions(), ()))


_examined()


@pytest.fixture(scope="session")
def gemma_folder(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Path]:
    """The folder of a tiny Gemma by kind, built once."""
    from engine.doctor import tiny_models
    from engine.paths import EMBEDDED_WEIGHTS
    from tests.architectures import BUILDERS

    built: dict[str, Path] = {"embedded": EMBEDDED_WEIGHTS}

    def folder(kind: str) -> Path:
        if kind not in built:
            built[kind] = tmp_path_factory.mktemp(kind)
            {**tiny_models.BUILDERS, **BUILDERS}[kind](built[kind])
        return built[kind]

    return folder


@pytest.fixture(scope="session")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    """The embedded Gemma 4's."""
    from transformers import AutoTokenizer

    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


@pytest.fixture
def rows(tmp_path: Path, tokenizer: Any) -> "Callable[..., Prepared]":
    """Rows prepared as a recipe of the embedded Gemma 4 would."""
    from tests import prepared_rows

    def prepared(*records: object, **options: Any) -> "Prepared":
        return prepared_rows.prepared(tmp_path / "rows.jsonl", tokenizer, records, **options)

    return prepared


@pytest.fixture(scope="session")
def drivers(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders "new", "old" and "torn" with an NVIDIA driver's library, and an empty one."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("needs gcc on Linux")
    folder = tmp_path_factory.mktemp("drivers")
    for age in ("new", "old", "torn", "empty"):
        (folder / age).mkdir()
    (folder / "torn" / "libnvidia-ml.so.1").write_bytes(b"\x7fELF and no more")
    source = Path(__file__).with_name("fake_nvml.c")
    for age, flags in (("new", []), ("old", ["-DOLD"])):
        library = folder / age / "libnvidia-ml.so.1"
        command = ["gcc", "-shared", "-fPIC", "-w", *flags, source, "-o", library]
        subprocess.run(command, check=True)
    return folder


@pytest.fixture(scope="session")
def dead_at_six(tmp_path_factory: pytest.TempPathFactory) -> RunDir:
    """A run that died in its third save, after step 6, with checkpoints of steps 2 and 4."""
    from tests import interrupted

    folder = tmp_path_factory.mktemp("dead")
    interrupted.written(folder, packing=False)
    return interrupted.run(folder, fail="checkpoint.written:kill@3")[1]


@pytest.fixture
def dead_run(dead_at_six: RunDir, tmp_path: Path) -> RunDir:
    """A copy of it to resume or to damage."""
    shutil.copytree(dead_at_six.path.parent, tmp_path, dirs_exist_ok=True)
    return RunDir(tmp_path / dead_at_six.path.name)


@pytest.fixture(scope="module")
def module_starts_anew() -> Iterator[None]:
    """Engines start as they do for users, from here to the end of the module."""
    with pytest.MonkeyPatch.context() as environment:
        environment.delenv("GEMMA_BENCH_FORKSERVER", raising=False)
        yield


@pytest.fixture
def starts_anew(monkeypatch: pytest.MonkeyPatch) -> None:
    """Engines of this test start as they do for users."""
    monkeypatch.delenv("GEMMA_BENCH_FORKSERVER", raising=False)


@pytest.fixture(autouse=True)
def folders_of_other_tests_are_unknown(monkeypatch: pytest.MonkeyPatch) -> None:
    """The list of folders with runs is each test's own."""
    monkeypatch.setenv("XDG_STATE_HOME", f"{_CACHE.name}/state/{next(_NUMBERS)}")


@pytest.fixture(autouse=True)
def no_run_outlives_its_test(request: pytest.FixtureRequest) -> Iterator[None]:
    """A test that fails half-way leaves no engine behind to slow the others."""
    folder = request.getfixturevalue("tmp_path") if "tmp_path" in request.fixturenames else None
    yield
    for events in folder.rglob("events.jsonl") if folder else ():
        run = RunDir(events.parent)
        if run.is_alive():
            with events.open() as lines, contextlib.suppress(ProcessLookupError):
                os.kill(json.loads(next(lines))["pid"], signal.SIGKILL)
