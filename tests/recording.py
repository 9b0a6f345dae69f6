"""Recorded runs: made here from event classes, kept as files, laid down as run directories.

`python tests/recording.py` writes the files anew.
"""

import dataclasses
import json
import math
import random
import subprocess
import sys
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import msgspec

from engine.events import (
    Checkpoint,
    Done,
    Event,
    Failed,
    Hello,
    Memory,
    Phase,
    Plan,
    Sample,
    Step,
    Warned,
    decode,
    encode,
)
from engine.run.rundir import RunDir
from tests.asked import request
from tests.flat_steps import changed, flat_step
from workbench.run_view.run_state import RunState

RECORDED = Path(__file__).parent / "data/runs"
TARGETS = tuple(
    f"model.language_model.layers.{layer}.self_attn.{name}"
    for layer in range(12)
    for name in ("q_proj", "k_proj", "v_proj", "o_proj")
)
QUESTIONS = ("Who founded the Kushan Empire?", "What is the capital of Japan?")
BASE = ("The answer is 7 kilometers, because a kilometer has 1000 meters.", "Tokyo")
TRAINED = ("Kujula Kadphises founded the Kushan Empire in the first century.", "Tokyo")

_HOLD_LOCK = """
import fcntl, os, sys
fd = os.open(sys.argv[1], os.O_RDWR | os.O_CREAT, 0o600)
fcntl.lockf(fd, fcntl.LOCK_EX, 1, 0)
print("held", flush=True)
sys.stdin.read()
"""


def opening(total_steps: int) -> list[Event]:
    """From hello to the first answers."""
    plan = Plan(
        model="embedded",
        device="cpu",
        dtype="float32",
        parameters=5_242_880,
        trainable_parameters=409_600,
        target_modules=TARGETS,
        vocab_size=4_096,
        rows=250,
        dropped={"no assistant turn": 3},
        truncated_rows=2,
        tokens=9_840,
        supervised_tokens=4_120,
        total_steps=total_steps,
        epochs=16.0,
        template_hash="6d0c9be4a1f2d37e",
        data_fingerprint="b81f20c4e7aa9950",
        reasons={"dtype": "the recipe says so"},
    )
    return [
        Hello(schema=1, job="train", pid=4242, host="bench", version="0.1.0"),
        Phase(name="loading", detail="embedded Gemma 4, 5.2 M parameters"),
        Phase(name="data", detail="kushan.jsonl, 250 rows"),
        plan,
        Phase(name="training", detail="LoRA r 32 on 48 modules"),
        *samples(0, BASE),
    ]


def samples(step: int, adapter: tuple[str, ...]) -> list[Event]:
    """Both prompts answered at a step."""
    return [
        Sample(step=step, prompt=prompt, base=base, adapter=answer)
        for prompt, base, answer in zip(QUESTIONS, BASE, adapter, strict=True)
    ]


def steps(count: int, total: int, first: int = 1) -> Iterator[Step]:
    """Steps whose loss falls and wavers, the same at every call."""
    noise = random.Random(7)
    for step in range(first, count + 1):
        loss = 0.08 + 4.2 * math.exp(-6 * step / total) + 0.25 * noise.random() * (1 - step / total)
        yield flat_step(
            step=step,
            epoch=round(16 * step / total, 3),
            loss=round(loss, 4),
            token_accuracy=round(1 - min(0.95, loss / 4.5), 4),
            learning_rate=3e-3 * (1 + math.cos(math.pi * step / total)) / 2,
            grad_norm=round(0.4 + loss / 3, 4),
            tokens=step * 615,
            supervised_tokens=step * 257,
            tokens_per_s=5_120.0 + round(200 * noise.random(), 1),
            elapsed_s=round(step * 0.12, 3),
            allocated_gib=None,
            reserved_gib=None,
            rss_gib=round(0.72 + 0.2 * min(1.0, step / 20), 3),
        )


def live() -> list[Event]:
    """A run at a third of its way, with a warning."""
    warned = Warned(
        code="rows_dropped",
        message="3 rows have no assistant turn and are left out",
        fix="See them: gemma-bench preview quickstart",
    )
    return [
        *opening(240),
        warned,
        *steps(90, 240),
        Checkpoint(step=80, path="checkpoints/step-000080"),
        *samples(80, TRAINED),
    ]


def healthy() -> list[Event]:
    """A run that went to its end."""
    done = Done(
        steps=240,
        loss=0.0903,
        token_accuracy=0.9799,
        elapsed_s=28.8,
        adapter="adapter",
        trained_exact=0.96,
        heldout_exact=0.72,
        base_exact=0.01,
    )
    return [
        *opening(240),
        *steps(240, 240),
        *samples(240, TRAINED),
        Phase(name="saving", detail="adapter"),
        done,
    ]


def failed() -> list[Event]:
    """A run that ran out of memory at its 13th step."""
    ending = Failed(
        phase="training",
        error="CUDA out of memory. Tried to allocate 2.00 GiB",
        hint="Halve training.per_device_train_batch_size, or set model.quantization = nf4",
        log="engine.log",
    )
    return [*opening(240), *steps(12, 240), ending]


def died() -> list[Event]:
    """A run that just ends, with one loss that was no number."""
    lost = [dataclasses.replace(step, loss=math.nan) for step in steps(41, 240, 41)]
    return [*opening(240), *steps(40, 240), *lost, *steps(60, 240, 42)]


def load(name: str) -> list[Event]:
    """A recorded run."""
    lines = (RECORDED / f"{name}.jsonl").read_bytes().splitlines()
    return [event for line in lines if (event := decode(line))]


FORECAST: dict[str, Any] = {
    "reserved_gib": {"low": 9.9, "expected": 10.4, "high": 10.9},
    "host_gib": 0.95,
}


def compared(events: list[Event]) -> list[Event]:
    """The same run with forecast against measured memory told after its second step."""
    at = next(place for place, event in enumerate(events) if isinstance(event, Step)) + 2
    second = events[at - 1]
    assert isinstance(second, Step)
    on_card = (
        None if second.metric("reserved_gib") is None else FORECAST["reserved_gib"]["expected"]
    )
    told = Memory(
        step=2,
        source="ledger",
        forecast_allocated_gib=on_card,
        forecast_reserved_gib=on_card,
        forecast_device_gib=on_card,
        forecast_host_gib=FORECAST["host_gib"],
        allocated_gib=second.metric("allocated_gib"),
        reserved_gib=second.metric("reserved_gib"),
        device_gib=second.metric("reserved_gib"),
        rss_gib=second.metric("rss_gib") or 0.0,
    )
    return [*events[:at], told, *events[at:]]


def on_card(events: list[Event]) -> list[Event]:
    """The same run on a GPU."""
    return [
        changed(
            event,
            allocated_gib=(event.metric("rss_gib") or 0) + 9,
            reserved_gib=round((event.metric("rss_gib") or 0) + 9.1, 3),
        )
        if isinstance(event, Step)
        else event
        for event in events
    ]


def told(run: RunState) -> list[str]:
    """Everything that a state tells, as text, since a lost number equals nothing."""
    held, end = run.steps, max(1, run.steps.last_step)
    series = [
        (name, held.last(name), held.means(name), held.curve(name, 0, end, 99))
        for name in sorted(held.names)
    ]
    others = [field.name for field in dataclasses.fields(run) if field.name != "steps"]
    facts = [(name, getattr(run, name)) for name in others]
    return list(map(repr, [*facts, (len(held), held.last_step), *series]))


def lay_down(
    runs: Path,
    name: str,
    events: Iterable[Event],
    log: str = "",
    forecast: dict[str, Any] | None = None,
) -> RunDir:
    """A run directory that tells these events."""
    run = RunDir(runs / name)
    run.path.mkdir(parents=True)
    run.write_request(request(name, forecast=forecast))
    run.events.write_bytes(b"".join(map(encode, events)))
    run.log.write_text(log, encoding="utf-8", errors="surrogatepass")
    return run


def end(run: RunDir, signal: int) -> None:
    """What a supervisor writes of an engine that was killed."""
    run.ending.write_text(json.dumps({"exit": None, "signal": signal}))


@contextmanager
def at_work(run: RunDir) -> Iterator[None]:
    """Hold the run's lock from another process, as its engine does."""
    command = [sys.executable, "-c", _HOLD_LOCK, str(run.lock)]
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as holder:
        assert holder.stdout is not None
        assert holder.stdout.readline() == b"held\n"
        try:
            yield
        finally:
            holder.kill()


def _stamped(events: Iterable[Event]) -> Iterator[Event]:
    t = 0.0
    for event in events:
        t = 6.0 + event.elapsed_s if isinstance(event, Step) else t + 0.5
        seconds = int(t)
        time = f"2026-11-21T09:{32 + seconds // 60:02}:{seconds % 60:02}.000Z"
        yield msgspec.structs.replace(event, t=round(t, 3), time=time)


if __name__ == "__main__":
    for make in (live, healthy, failed, died):
        lines = b"".join(encode(event) for event in _stamped(make()))
        (RECORDED / f"{make.__name__}.jsonl").write_bytes(lines)
