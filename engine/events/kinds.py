"""The engine's event stream: one frozen class per kind, and their JSON encoding.

The field names are a contract with scripts; readers skip kinds and keys they don't know.
"""

import json
import math
from dataclasses import dataclass, fields
from typing import Any, ClassVar

from engine.events.event import Event as Event
from engine.events.json_types import json_types
from engine.events.playground_kinds import Answered as Answered
from engine.events.playground_kinds import Opened as Opened
from engine.events.playground_kinds import Piece as Piece

SCHEMA_VERSION = 1


@dataclass(frozen=True, slots=True, kw_only=True)
class Hello(Event):
    """The engine started; written before any heavy import."""

    kind: ClassVar[str] = "hello"
    schema: int
    job: str
    pid: int
    host: str
    version: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Phase(Event):
    """A phase began: data, loading, training, saving or sampling."""

    kind: ClassVar[str] = "phase"
    name: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Plan(Event):
    """Everything is resolved; the whole of it stands in plan.json."""

    kind: ClassVar[str] = "plan"
    model: str
    device: str
    dtype: str
    parameters: int
    trainable_parameters: int
    target_modules: tuple[str, ...]
    vocab_size: int
    rows: int
    dropped: dict[str, int]
    """Rows left out, counted by reason."""
    truncated_rows: int
    tokens: int
    """Tokens of one epoch, padding excluded."""
    supervised_tokens: int
    """Tokens of one epoch that carry loss."""
    total_steps: int
    epochs: float
    template_hash: str
    data_fingerprint: str
    reasons: dict[str, str]
    """Why each automatic choice was made, by the choice's name."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Step(Event):
    """One optimizer step. Loss and accuracy are means per supervised token."""

    kind: ClassVar[str] = "step"
    step: int
    epoch: float
    loss: float | None
    """Natural log; null when it was not a number."""
    token_accuracy: float | None
    learning_rate: float
    grad_norm: float | None
    tokens: int
    """Tokens seen since the first step, padding excluded."""
    supervised_tokens: int
    """Tokens that carried loss since the first step."""
    tokens_per_s: float
    elapsed_s: float
    """Seconds since training began."""
    allocated_gib: float | None
    """Accelerator memory held by tensors; null without an accelerator."""
    reserved_gib: float | None
    """Accelerator memory taken from the driver; null without an accelerator."""
    rss_gib: float
    """Resident memory of the engine process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Memory(Event):
    """Forecast against measured memory, once, after the second step. Null is not known."""

    kind: ClassVar[str] = "memory"
    step: int
    source: str
    """Where the forecast is from: ledger or simulated; none where there was none."""
    forecast_allocated_gib: float | None
    forecast_reserved_gib: float | None
    forecast_device_gib: float | None
    forecast_host_gib: float | None
    """Of the whole process in host memory; on a CPU that is what rss_gib measures."""
    allocated_gib: float | None
    """Most accelerator memory held by tensors so far."""
    reserved_gib: float | None
    """Most accelerator memory taken from the driver so far."""
    device_gib: float | None
    """What the driver says this process takes on the device, its context included."""
    rss_gib: float
    """Resident memory of the engine process."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sample(Event):
    """One prompt answered by the base model and by the adapter, in the same process."""

    kind: ClassVar[str] = "sample"
    step: int
    prompt: str
    base: str
    adapter: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Checkpoint(Event):
    """A checkpoint is complete on disk; the path is relative to the run."""

    kind: ClassVar[str] = "checkpoint"
    step: int
    path: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Resumed(Event):
    """The run goes on from a checkpoint; steps after it that were told before no longer count."""

    kind: ClassVar[str] = "resumed"
    step: int
    path: str
    """Of the checkpoint, relative to the run."""
    rejected: dict[str, str]
    """Newer checkpoints that are not whole, each with its reason."""
    exactness: str
    """How the steps that follow compare to those of a run that was never interrupted."""
    parent: str | None = None
    """The run that the checkpoint is from, where it is another's."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Mark(Event):
    """The user marked a step, to find it again on the charts."""

    kind: ClassVar[str] = "mark"
    step: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Warned(Event):
    """Something the user should know; the run goes on."""

    kind: ClassVar[str] = "warning"
    code: str
    message: str
    fix: str


@dataclass(frozen=True, slots=True, kw_only=True)
class Failed(Event):
    """The run ended by an error; the log is a path relative to the run."""

    kind: ClassVar[str] = "failed"
    phase: str
    error: str
    hint: str
    log: str
    step: int | None = None
    """The step that ran out of memory."""
    batch_shape: tuple[int, ...] | None = None
    """Its micro-batch then: rows and tokens of the longest."""
    ledger: dict[str, float] | None = None
    """GiB of each part at the forecast's highest moment, where there is a forecast."""
    suggestion: dict[str, str] | None = None
    """Recipe keys with values that would save the memory."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Done(Event):
    """The run ended and its adapter is saved; figures are of the last step."""

    kind: ClassVar[str] = "done"
    steps: int
    loss: float | None
    token_accuracy: float | None
    elapsed_s: float
    adapter: str
    """Path of the adapter, relative to the run."""
    stopped_by: str | None = None
    """Who asked for an early end; absent when the run went to its end."""
    trained_exact: float | None = None
    """Share of trained questions whose exact fact the adapter answers."""
    heldout_exact: float | None = None
    """Share of held-out wordings whose exact fact the adapter answers."""
    base_exact: float | None = None
    """Share of all these questions whose exact fact the base model answers."""


KINDS: dict[str, type[Event]] = {cls.kind: cls for cls in Event.__subclasses__()}


def encode(event: Event) -> bytes:
    """One JSON line. A float that is not finite becomes null; an absent optional is left out."""
    record: dict[str, Any] = {"kind": event.kind}
    for field in fields(event):
        value = getattr(event, field.name)
        if isinstance(value, float) and not math.isfinite(value):
            value = None
        if value is None and field.default is None:
            continue
        record[field.name] = value
    return (
        json.dumps(record, ensure_ascii=False, allow_nan=False).encode("utf-8", "replace") + b"\n"
    )


def decode(line: bytes) -> Event | None:
    """The event on a line, or None where the line is damaged or of a kind unknown here."""
    try:
        record = json.loads(line)
        cls = KINDS[record.pop("kind")]
        accepted = json_types(cls)  # type: ignore[arg-type]
        values: dict[str, Any] = {}
        for key, value in record.items():
            if key not in accepted:
                continue
            if type(value) not in accepted[key]:
                return None
            if type(value) is int:
                float(value)  # an integer that no float can hold is damage: charts are of floats
            values[key] = tuple(value) if type(value) is list else value
        return cls(**values)
    except (ValueError, KeyError, TypeError, AttributeError, RecursionError, OverflowError):
        return None
