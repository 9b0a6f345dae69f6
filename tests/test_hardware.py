"""Hardware profiles, and a machine as its driver tells it, for good or ill."""

import json
import os
import shutil
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from engine import hardware
from engine.refusal import Refusal

ROOT = Path(__file__).parents[1]
DETECT = """
import json, time
from engine import hardware
began = time.monotonic()
found = hardware.detect()
took_s = time.monotonic() - began
print(json.dumps({**found.as_dict(), "took_s": took_s, "host_gib": hardware.host_memory_gib()}))
"""
FAKE_NVML = r"""
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
enum { NOT_SUPPORTED = 3, NO_PERMISSION = 4, NOT_LOADED = 9, LOST = 15, MISMATCH = 18 };
typedef struct { unsigned long long total, free, used; } memory;
static int is(const char *mode) { return !strcmp(getenv("FAKE_NVML"), mode); }
int nvmlInitWithFlags(unsigned flags) {
    if (is("hang")) sleep(60);
    if (is("mismatch")) return MISMATCH;
    return is("noperm") ? NO_PERMISSION : is("notloaded") ? NOT_LOADED : 0;
}
int nvmlInit_v2(void) { return nvmlInitWithFlags(0); }
int nvmlShutdown(void) { return 0; }
int nvmlDeviceGetCount_v2(unsigned *count) {
    *count = is("none") ? 0 : is("two") ? 2 : 1;
    return 0;
}
int nvmlDeviceGetHandleByIndex_v2(unsigned index, void **device) {
    *device = (void *)(index + 1L);
    return is("lost") ? LOST : 0;
}
int nvmlDeviceGetName(void *device, char *name, unsigned size) {
    const char *numbered = device == (void *)1 ? "NVIDIA One" : "NVIDIA Two";
    strncpy(name, is("unified") ? "NVIDIA GB10" : numbered, size);
    return 0;
}
int nvmlDeviceGetMemoryInfo(void *device, memory *info) {
    if (is("hang-memory")) sleep(60);
    if (is("unified")) return NOT_SUPPORTED;
    if (is("lost-memory")) return LOST;
    info->total = 24ULL << 30; info->free = 20ULL << 30; info->used = 4ULL << 30;
    return 0;
}
#ifndef OLD
int nvmlDeviceGetCudaComputeCapability(void *device, int *major, int *minor) {
    *major = is("turing") ? 7 : 8; *minor = 5;
    return 0;
}
#endif
const char *nvmlErrorString(int code) {
    return code == MISMATCH ? "Driver/library version mismatch" : "it went wrong";
}
"""


@pytest.fixture(scope="module")
def libraries(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Folders "new" and "old" with a driver's library that says what FAKE_NVML tells it to say."""
    if sys.platform != "linux" or not shutil.which("gcc"):
        pytest.skip("needs gcc on Linux")
    folder = tmp_path_factory.mktemp("nvml")
    (folder / "nvml.c").write_text(FAKE_NVML)
    for age, flags in (("new", []), ("old", ["-DOLD"])):
        (folder / age).mkdir()
        library = folder / age / "libnvidia-ml.so.1"
        command = ["gcc", "-shared", "-fPIC", "-w", *flags, folder / "nvml.c", "-o", library]
        subprocess.run(command, check=True)
    return folder


def detected(libraries: Path, mode: str, age: str = "new", **variables: str) -> dict[str, Any]:
    """What a process of its own detects with a driver in that mode."""
    env = {key: value for key, value in os.environ.items() if key != "CUDA_VISIBLE_DEVICES"}
    env |= {"LD_LIBRARY_PATH": str(libraries / age), "FAKE_NVML": mode, **variables}
    began = time.monotonic()
    done = subprocess.run(
        [sys.executable, "-c", DETECT], cwd=ROOT, env=env, capture_output=True, timeout=30,
        check=False,
    )  # fmt: skip
    assert (done.returncode, done.stderr) == (0, b"")
    found: dict[str, Any] = json.loads(done.stdout)
    assert found["took_s"] < 3
    assert time.monotonic() - began < 10, "it hung on its way out"
    return found


@pytest.mark.parametrize("mode", ["ok", "two"])
def test_a_gpu_is_named_with_its_memory(libraries: Path, mode: str) -> None:
    found = detected(libraries, mode)
    assert (found["device"], found["title"]) == ("cuda", "NVIDIA One")
    assert found["memory_gib"] == 24.0
    assert found["has_bf16"]
    assert "NVIDIA One" in found["reason"]
    assert "24.0 GiB" in found["reason"]


def test_an_old_gpu_has_no_bfloat16(libraries: Path) -> None:
    assert not detected(libraries, "turing")["has_bf16"]


def test_a_gpu_without_memory_of_its_own_has_the_hosts(libraries: Path) -> None:
    found = detected(libraries, "unified")
    assert (found["device"], found["title"]) == ("cuda", "NVIDIA GB10")
    assert found["memory_gib"] == pytest.approx(found["host_gib"])
    assert "shared with the host" in found["reason"]
    assert found["usable_share"] < detected(libraries, "ok")["usable_share"]


@pytest.mark.parametrize(
    ("mode", "age", "reason"),
    [
        ("mismatch", "new", "version mismatch"), ("noperm", "new", "NVIDIA driver"),
        ("notloaded", "new", "NVIDIA driver"), ("none", "new", "names no device"),
        ("lost", "new", "NVIDIA driver"), ("lost-memory", "new", "NVIDIA driver"),
        ("ok", "old", "NVIDIA driver"), ("hang", "new", "no answer in 2"),
        ("hang-memory", "new", "no answer in 2"),
    ],
)  # fmt: skip
def test_a_driver_in_trouble_leaves_the_cpu(
    libraries: Path, mode: str, age: str, reason: str
) -> None:
    found = detected(libraries, mode, age)
    assert found["device"] == "cpu"
    assert found["memory_gib"] == pytest.approx(found["host_gib"])
    assert reason in found["reason"]


@pytest.mark.parametrize("hidden", ["", "-1"])
def test_a_gpu_can_be_hidden(libraries: Path, hidden: str) -> None:
    found = detected(libraries, "ok", CUDA_VISIBLE_DEVICES=hidden)
    assert found["device"] == "cpu"
    assert "CUDA_VISIBLE_DEVICES" in found["reason"]
    assert detected(libraries, "ok", CUDA_VISIBLE_DEVICES="0")["device"] == "cuda"


def test_this_machine_is_detected() -> None:
    found = hardware.profile("auto")
    assert found.name == "auto"
    assert found.memory_gib > 0.5
    assert found.reason
    if found.device != "cpu":
        pytest.skip(f"this machine has a GPU: {found.title}")
    assert "NVIDIA" in found.reason
    assert f"{os.cpu_count()} cores" in found.title
    assert found.memory_gib == hardware.host_memory_gib()


def test_profiles_are_those_of_the_files() -> None:
    files = [path.stem for path in hardware.PROFILES.rglob("*.toml")]
    assert "cpu" in files
    assert hardware.names() == ["auto", *sorted(files)]


@pytest.mark.parametrize("name", hardware.names())
def test_every_profile_loads(name: str) -> None:
    found = hardware.profile(name)
    assert found.name == name
    assert found.device in {"cuda", "mps", "cpu"}
    assert 0.5 < found.memory_gib < 1024
    assert 0.5 < found.usable_share < 1
    assert found.usable_gib == pytest.approx(found.memory_gib * found.usable_share)
    assert isinstance(found.has_bf16, bool)
    assert found.title
    assert json.loads(json.dumps(found.as_dict()))["title"] == found.title


@pytest.mark.parametrize("name", ["rtx-9999", "", "../quickstart", "cpu.toml"])
def test_an_unknown_profile_is_refused_with_the_list(name: str) -> None:
    with pytest.raises(Refusal, match="there is no profile") as refused:
        hardware.profile(name)
    assert refused.value.exit_code == 2
    assert all(known in str(refused.value) for known in hardware.names())


def test_a_device_that_is_not_here_can_not_be_run_on() -> None:
    if hardware.detect().device != "cpu":
        pytest.skip("this machine has a GPU")
    with pytest.raises(Refusal, match="this machine has no cuda device"):
        hardware.runnable("rtx-4090")
    assert hardware.runnable("cpu").device == "cpu"
