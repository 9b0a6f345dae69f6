"""A card is examined stage by stage: each a process with a deadline, and a record as it ends."""

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from engine.hardware import card_probe, profiles, visible_card
from engine.hardware.profiles import AUTO, Profile
from engine.problems import Refusal

RESULTS_FILE = "results.jsonl"
STAGES = {
    "facts": 2.0, "correctness": 6.0, "attention": 3.0, "memory": 6.0, "speed": 5.0, "failures": 3.0
}  # fmt: skip
"""Modules of `engine.card_stages` in their order, and the share of the time that each may take.

What a stage leaves over is the later ones'.
"""
_REAL_SHAPES_GIB = 6.0
"""What may be filled of a card that is tried with models of real shapes: the largest run of the
stages is forecast at 4.9 GiB. Below it tiny Gemmas stand for them."""
_LEAST_S = 5.0
Record = dict[str, Any]


def card() -> Profile:
    """This machine's card. Raises `Refusal` where there is none, or torch can't use it."""
    profile = profiles.profile(AUTO)
    if profile.device != "cuda":
        reason = f"there is no NVIDIA or AMD card to examine: {profile.reason}"
        raise Refusal.of("--gpu", reason, "gemma-bench doctor examines the install without one")
    answer = card_probe.require_usable(profile, needs_nf4=False)
    return replace(profile, why_no_triton=answer.triton)


def examine(profile: Profile, minutes: float, out: Path) -> Iterator[Record]:
    """The record of each stage as it ends, which `out` holds too, as lines of JSON.

    `out` gets a log of each stage beside. Closed early, the stage at work is ended.
    """
    out.mkdir(parents=True, exist_ok=True)
    results = out / RESULTS_FILE
    results.write_bytes(b"")
    end_s, shares = time.monotonic() + 60 * minutes, sum(STAGES.values())
    for name, share in STAGES.items():
        left_s = max(0.0, end_s - time.monotonic())
        record = _examined(profile, name, max(_LEAST_S, left_s * share / shares), out)
        shares -= share
        with results.open("a") as file:
            file.write(json.dumps(record) + "\n")
        yield record


def _examined(profile: Profile, name: str, seconds: float, out: Path) -> Record:
    """A stage in a process, and all that it starts in the same group of processes."""
    began = time.monotonic()
    parts, log = out / f"{name}.parts.jsonl", out / f"{name}.log"
    with (
        tempfile.TemporaryDirectory(prefix="gemma-bench-", ignore_cleanup_errors=True) as folder,
        parts.open("wb") as lines,
        log.open("wb") as said,
    ):
        request = {
            "hardware": profile.as_dict(), "folder": folder, "seconds": seconds,
            "is_tiny": profile.usable_gib < _REAL_SHAPES_GIB,
        }  # fmt: skip
        process = subprocess.Popen(
            [sys.executable, "-P", "-m", "engine.card_stages", name, json.dumps(request)],
            stdin=subprocess.DEVNULL, stdout=lines, stderr=said, start_new_session=True,
            env={**os.environ, **_environment(profile)},
        )  # fmt: skip
        code: int | None = None
        try:
            with contextlib.suppress(subprocess.TimeoutExpired):
                code = process.wait(seconds)
        finally:
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait()
    record = _record(name, code, _read(parts), log)
    parts.unlink()
    return {**record, "seconds": round(time.monotonic() - began, 1)}


def _environment(profile: Profile) -> dict[str, str]:
    """As the launcher and the engine set them for a run: one card, and segments that expand."""
    return {
        **visible_card.only(profile.visible_as or visible_card.first()),
        "PYTORCH_CUDA_ALLOC_CONF": "expandable_segments:True",
        "TORCHDYNAMO_DISABLE": "1",
        "TOKENIZERS_PARALLELISM": "false",
        "HF_HUB_OFFLINE": "1",
        "HF_HUB_DISABLE_TELEMETRY": "1",
    }


def _record(name: str, code: int | None, parts: list[Record], log: Path) -> Record:
    status = "passed"
    if code is None:
        status = "out of time"
    elif code or not parts or any(part.get("passed") is False for part in parts):
        status = "failed"
    record: Record = {"stage": name, "status": status, "parts": parts}
    if code:
        lines = log.read_text(errors="replace").strip().splitlines()
        record["error"] = lines[-1][:500] if lines else f"exit code {code}"
    return record


def _read(parts: Path) -> list[Record]:
    """Whole lines; the last may be torn where the stage was ended."""
    return [json.loads(line) for line in parts.read_bytes().split(b"\n")[:-1]]
