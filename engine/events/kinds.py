"""The kinds of events in a run's log, as frozen structs, and their JSON encoding.

The field names are a contract with scripts; readers skip kinds and keys they don't know.
"""

import json
import math
from collections.abc import Sequence
from functools import reduce
from operator import or_
from typing import Annotated, Any, Literal

import msgspec

SCHEMA_VERSION = 2
"""1 had the figures of a step beside its number; `decode` reads such lines too."""


Count = Annotated[int, msgspec.Meta(ge=0, le=2**53)]
"""A whole number that a float holds exactly; a larger one is damage, since charts are of floats."""


class Event(msgspec.Struct, tag_field="kind", kw_only=True, frozen=True):
    """What every event carries; the log stamps both fields when it appends."""

    t: float = 0.0
    """Seconds on the engine's monotonic clock since its hello."""
    time: str = ""
    """UTC wall time, ISO 8601, for people; never for arithmetic."""

    @property
    def kind(self) -> str:
        """As its line names it."""
        return str(self.__struct_config__.tag)


class Metric(msgspec.Struct, kw_only=True, frozen=True):
    """A figure of steps, declared where it is computed, for all that show it."""

    name: str
    title: str
    label: str = ""
    """What tables and lines call it; its title where this is empty."""
    unit: str = ""
    style: Literal["number", "share", "scientific", "count", "gib"] = "number"
    """How it is written."""
    is_noisy: bool = False
    """Shown smoothed, with what was measured behind it."""
    has_log: bool = False
    """Worth a logarithmic scale."""
    has_lowest: bool = False
    """Its lowest figure so far is told beside the last."""
    is_outcome: bool = True
    """Told in progress lines and compared between runs, unlike a schedule."""


LOSS = Metric(
    name="loss", title="loss", unit="nats per token", is_noisy=True, has_log=True, has_lowest=True
)
TOKEN_ACCURACY = Metric(
    name="token_accuracy", title="token accuracy", label="accuracy", style="share", is_noisy=True
)
LEARNING_RATE = Metric(
    name="learning_rate", title="learning rate", style="scientific", has_log=True, is_outcome=False
)
GRAD_NORM = Metric(
    name="grad_norm", title="gradient norm", is_noisy=True, has_log=True, is_outcome=False
)
ALLOCATED_GIB = Metric(
    name="allocated_gib", title="memory allocated, GiB", label="allocated", style="gib",
    is_outcome=False,
)  # fmt: skip
RESERVED_GIB = Metric(
    name="reserved_gib", title="memory reserved, GiB", label="reserved", style="gib"
)
RSS_GIB = Metric(name="rss_gib", title="memory of the process, GiB", label="memory", style="gib")
SFT_METRICS = (
    LOSS, TOKEN_ACCURACY, LEARNING_RATE, GRAD_NORM, ALLOCATED_GIB, RESERVED_GIB, RSS_GIB,
)  # fmt: skip
"""Of supervised fine-tuning; the loop's and the hooks' among them."""


class Hello(Event, tag="hello", kw_only=True, frozen=True):
    """The engine started; written before any heavy import."""

    schema: Count
    job: str
    pid: Count
    host: str
    version: str


class Phase(Event, tag="phase", kw_only=True, frozen=True):
    """A phase began: data, loading, training, saving or sampling."""

    name: str
    detail: str


class Plan(Event, tag="plan", kw_only=True, frozen=True):
    """Everything is resolved; the whole of it stands in plan.json."""

    model: str
    device: str
    dtype: str
    parameters: Count
    trainable_parameters: Count
    target_modules: tuple[str, ...]
    vocab_size: Count
    rows: Count
    dropped: dict[str, Count]
    """Rows left out, counted by reason."""
    truncated_rows: Count
    tokens: Count
    """Tokens of one epoch, padding excluded."""
    supervised_tokens: Count
    """Tokens of one epoch that carry loss."""
    total_steps: Count
    epochs: float
    template_hash: str
    data_fingerprint: str
    reasons: dict[str, str]
    """Why each automatic choice was made, by the choice's name."""
    metrics: tuple[Metric, ...] = SFT_METRICS
    """What steps may carry; plans of the first schema declare none, and their steps these."""


class Step(Event, tag="step", kw_only=True, frozen=True):
    """One optimizer step, with every figure that the loop and its hooks measured."""

    step: Count
    epoch: float
    tokens: Count
    """Tokens seen since the first step, padding excluded."""
    supervised_tokens: Count
    """Tokens that carried loss since the first step."""
    tokens_per_s: float
    elapsed_s: float
    """Seconds since training began."""
    metrics: dict[str, float | None]
    """By the names that the plan declares; null is a figure that was no finite number."""

    def metric(self, name: str) -> float | None:
        """A figure; None where it was not measured in this step, or was no finite number."""
        return self.metrics.get(name)


class Memory(Event, tag="memory", kw_only=True, frozen=True):
    """Forecast against measured memory, once, after the second step. Null is not known."""

    step: Count
    source: str
    """Where the forecast is from: ledger, or simulated by older versions; none without one."""
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


class Sample(Event, tag="sample", kw_only=True, frozen=True):
    """One prompt answered by the base model and by the adapter, in the same process."""

    step: Count
    prompt: str
    base: str
    adapter: str


class Checkpoint(Event, tag="checkpoint", kw_only=True, frozen=True):
    """A checkpoint is complete on disk; the path is relative to the run."""

    step: Count
    path: str


class Resumed(Event, tag="resumed", kw_only=True, frozen=True):
    """The run goes on from a checkpoint; steps after it that were told before no longer count."""

    step: Count
    path: str
    """Of the checkpoint, relative to the run."""
    rejected: dict[str, str]
    """Newer checkpoints that are not whole, each with its reason."""
    exactness: str
    """How the steps that follow compare to those of a run that was never interrupted."""
    parent: str | None = None
    """The run that the checkpoint is from, where it is another's."""


class Mark(Event, tag="mark", kw_only=True, frozen=True):
    """The user marked a step, to find it again on the charts."""

    step: Count


class Warned(Event, tag="warning", kw_only=True, frozen=True):
    """Something the user should know; the run goes on."""

    code: str
    message: str
    fix: str


class Failed(Event, tag="failed", kw_only=True, frozen=True):
    """The run ended by an error; the log is a path relative to the run."""

    phase: str
    error: str
    hint: str
    log: str
    step: Count | None = None
    """The step that ran out of memory."""
    batch_shape: tuple[Count, ...] | None = None
    """Its micro-batch then: rows and tokens of the longest."""
    ledger: dict[str, float] | None = None
    """GiB of each part at the forecast's highest moment, where there is a forecast."""
    suggestion: dict[str, str] | None = None
    """Recipe keys with values that would save the memory."""


class Done(Event, tag="done", kw_only=True, frozen=True):
    """The run ended and its adapter is saved; figures are of the last step."""

    steps: Count
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
    general_kept: float | None = None
    """Share of the general questions that the base answers rightly which the adapter does too."""
    general_known: Count | None = None
    """How many general questions the base answers rightly."""


class Opened(Event, tag="opened", kw_only=True, frozen=True):
    """A playground can be asked: base and adapter are loaded."""

    run: str
    """Directory of the run whose adapter it is."""
    adapter: str
    """Path of the adapter, relative to the run."""
    step: Count | None
    """The step it was saved after; null where the run doesn't tell."""
    model: str
    device: str
    dtype: str
    quantization: str


class Piece(Event, tag="piece", kw_only=True, frozen=True):
    """More of an answer in a playground."""

    id: Count
    side: str
    """base or adapter."""
    text: str
    """Whole characters that follow those of the piece before."""
    tokens: Count
    """Tokens of the answer so far."""
    seconds: float
    """Time spent on them so far, that of the other side left out."""


class Answered(Event, tag="answered", kw_only=True, frozen=True):
    """An answer in a playground is over."""

    id: Count
    side: str
    prompt_tokens: Count
    tokens: Count
    """Tokens of the answer, its end token not counted."""
    seconds: float
    """Time spent on it, the prompt's included, that of the other side left out."""
    reason: str
    """stop: it came to its end; length: no more tokens were asked for; stopped; or failed."""
    error: str | None = None
    """Why it failed."""


_CLASSES: tuple[type[Event], ...] = tuple(Event.__subclasses__())
KINDS: dict[str, type[Event]] = {str(cls.__struct_config__.tag): cls for cls in _CLASSES}
AnyEvent: Any = reduce(or_, _CLASSES)
_DECODER = msgspec.json.Decoder(AnyEvent)


_FLAT_FIGURES = [metric.name for metric in SFT_METRICS]
_OF_ACCELERATOR = {ALLOCATED_GIB.name, RESERVED_GIB.name}
_STEP_FIELDS = [field for field in msgspec.structs.fields(Step) if field.name != "metrics"]
_FLAT_STEP = msgspec.defstruct(
    "FlatStep",
    [(f.name, f.type) if f.required else (f.name, f.type, f.default) for f in _STEP_FIELDS]
    + [(name, float | None) for name in _FLAT_FIGURES],
    tag="step",
    tag_field="kind",
    kw_only=True,
)
"""A step of the first schema."""
_FLAT_DECODER = msgspec.json.Decoder(_FLAT_STEP)
_DAMAGE = (msgspec.DecodeError, RecursionError, OverflowError, UnicodeDecodeError)


def encode(event: Event) -> bytes:
    """One JSON line. A float that is not finite becomes null; an absent optional is left out."""
    optional = {field.name for field in msgspec.structs.fields(event) if field.default is None}
    record = {
        name: _finite(value)
        for name, value in msgspec.to_builtins(event).items()
        if not (value is None and name in optional)
    }
    text = json.dumps(record, ensure_ascii=False, allow_nan=False)
    return text.encode("utf-8", "replace") + b"\n"


def _finite(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: _finite(inner) for key, inner in value.items()}
    return None if isinstance(value, float) and not math.isfinite(value) else value


def decode(line: bytes) -> Event | None:
    """The event on a line, or None where the line is damaged or of a kind unknown here."""
    try:
        event: Event = _DECODER.decode(line)
        return event
    except _DAMAGE:
        pass
    try:
        return _nested(_FLAT_DECODER.decode(line))
    except _DAMAGE:
        return None


def _nested(flat: Any) -> Step:
    """A step of the first schema as it is told today; a card that was not there had no memory."""
    document: dict[str, Any] = msgspec.structs.asdict(flat)
    figures = {name: document.pop(name) for name in _FLAT_FIGURES}
    for name in _OF_ACCELERATOR:
        if figures[name] is None:
            del figures[name]
    return Step(**document, metrics=figures)


def decode_all(lines: Sequence[bytes]) -> list[Event | None]:
    """What `decode` makes of each line."""
    try:
        events: list[Event | None] = _DECODER.decode_lines(b"\n".join(lines))
    except _DAMAGE:
        return list(map(decode, lines))
    # An empty line is passed by there, and told here.
    return events if len(events) == len(lines) else list(map(decode, lines))
