"""The event stream: what is written can be read, and its names are the published contract."""

import json
import math
import subprocess
import sys
from pathlib import Path
from typing import Any

import jsonschema
import msgspec
import pytest

from engine import events
from engine.events import KINDS, Done, Event, Hello, Metric, Sample, Step, Warned, json_schema
from engine.events.kinds import Count
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir

ROOT = Path(__file__).parents[1]
SCHEMA = ROOT / "docs/events.schema.json"
STAMP = {"kind", "t", "time"}
VALUES: dict[Any, Any] = {
    Count: 7, float: 0.25, str: "한국어 \u2028 \"\n\\ é", tuple[str, ...]: ("a", "b"),
    dict[str, Count]: {"too long": 3}, dict[str, str]: {"dtype": "the CPU has no bfloat16"},
    float | None: 1.5, Count | None: 3, str | None: "Ctrl-C", tuple[Count, ...] | None: (4, 512),
    tuple[Metric, ...]: (Metric(name="eval_loss", title="held-out loss"),),
    dict[str, float | None]: {"loss": 1.5, "eval_loss": None},
    dict[str, float] | None: {"weights": 0.5}, dict[str, str] | None: {"data.max_length": "256"},
}  # fmt: skip


def filled(kind: str, **given: Any) -> Event:
    """An event of a kind with a value in every field."""
    cls = KINDS[kind]
    values = {field.name: VALUES[field.type] for field in msgspec.structs.fields(cls)}
    return cls(**{**values, **given})


@pytest.fixture(scope="module")
def validator() -> Any:
    schema = json.loads(SCHEMA.read_text())
    jsonschema.Draft202012Validator.check_schema(schema)
    return jsonschema.Draft202012Validator(schema)


def test_every_kind_of_the_design_is_there() -> None:
    assert set(KINDS) >= {
        "hello", "phase", "plan", "step", "sample", "checkpoint", "warning", "failed", "done",
    }  # fmt: skip
    assert all(cls.__struct_config__.tag == kind for kind, cls in KINDS.items())


@pytest.mark.parametrize("kind", KINDS)
def test_a_kind_survives_the_line(kind: str, validator: Any) -> None:
    event = filled(kind)
    line = events.encode(event)
    assert line.endswith(b"\n")
    assert line.count(b"\n") == 1
    assert events.decode(line) == event
    validator.validate(json.loads(line))


@pytest.mark.parametrize(
    ("kind", "names"),
    [
        ("step", {"step", "epoch", "tokens", "supervised_tokens", "tokens_per_s", "elapsed_s",
                  "metrics"}),
        ("sample", {"step", "prompt", "base", "adapter"}),
        ("done", {"steps", "loss", "token_accuracy", "elapsed_s", "adapter", "stopped_by",
                  "trained_exact", "heldout_exact", "base_exact", "general_kept", "general_known"}),
    ],
)  # fmt: skip
def test_names_are_the_contract(kind: str, names: set[str]) -> None:
    assert set(json.loads(events.encode(filled(kind)))) == names | STAMP


@pytest.mark.parametrize("number", [math.nan, math.inf, -math.inf])
def test_what_is_no_number_becomes_null(number: float, validator: Any) -> None:
    line = events.encode(filled("step", metrics={"loss": number, "grad_norm": 1.0}))
    record = json.loads(line)
    assert record["metrics"] == {"loss": None, "grad_norm": 1.0}
    validator.validate(record)
    read = events.decode(line)
    assert isinstance(read, Step)
    assert read.metrics == {"loss": None, "grad_norm": 1.0}


def test_what_was_not_measured_is_left_out() -> None:
    done = Done(steps=3, loss=1.0, token_accuracy=0.5, elapsed_s=1.0, adapter="adapter")
    record = json.loads(events.encode(done))
    assert set(record) == STAMP | {"steps", "loss", "token_accuracy", "elapsed_s", "adapter"}
    assert events.decode(events.encode(done)) == done


def test_a_lone_surrogate_is_no_broken_line() -> None:
    line = events.encode(Sample(step=1, prompt="\udcff", base="\ud83d", adapter="fine"))
    read = events.decode(line)
    assert isinstance(read, Sample)
    assert read.adapter == "fine"


def test_unknown_keys_are_ignored() -> None:
    record = {**json.loads(events.encode(filled("sample"))), "mood": "good"}
    assert events.decode(json.dumps(record).encode()) == filled("sample")


@pytest.mark.parametrize(
    "line",
    [
        b"", b"\n", b"\0\0\0", b"\xff\xfe{}", b"[]", b"3", b"null", b'"step"', b"{}",
        b'{"kind": "mood"}', b'{"kind": null}', b'{"kind": ["step"]}', b'{"kind": "step"}',
        b'{"kind": "sample", "step": 1, "prompt": "a", "base": "b"}',
        b"[" * 100_000,
    ],
    ids=lambda line: repr(line[:24]),
)  # fmt: skip
def test_a_line_that_is_no_event_is_none(line: bytes) -> None:
    assert events.decode(line) is None


@pytest.mark.parametrize("wrong", ["1", None, [], {}, True])
def test_a_value_of_another_type_makes_no_event(wrong: Any) -> None:
    record = {**json.loads(events.encode(filled("step"))), "step": wrong}
    assert events.decode(json.dumps(record).encode()) is None


@pytest.mark.parametrize("kind", KINDS)
def test_a_torn_line_is_none(kind: str) -> None:
    line = events.encode(filled(kind)).rstrip()
    assert all(events.decode(line[:cut]) is None for cut in range(len(line)))


def test_the_published_schema_is_that_of_the_code() -> None:
    assert json.loads(SCHEMA.read_text()) == json_schema.schema()
    printed = subprocess.run(
        [sys.executable, "-m", "engine.events.json_schema"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    assert json.loads(printed.stdout) == json_schema.schema()


@pytest.mark.parametrize(
    "damage",
    [
        {"metrics": "absent"}, {"step": 1.5}, {"step": "1"}, {"tokens": None}, {"metrics": None},
        {"time": "absent"}, {"t": "absent"}, {"kind": "stop"}, {"metrics": {"loss": "2e-4"}},
    ],
    ids=str,
)  # fmt: skip
def test_the_schema_refuses_a_damaged_step(validator: Any, damage: dict[str, Any]) -> None:
    record = json.loads(events.encode(filled("step"))) | damage
    record = {key: value for key, value in record.items() if value != "absent"}
    with pytest.raises(jsonschema.ValidationError):
        validator.validate(record)


def test_the_log_stamps_what_it_appends(tmp_path: Path, validator: Any) -> None:
    run = RunDir(tmp_path)
    log = EventLog(run)
    log.append(Hello(schema=1, job="train", pid=1, host="here", version="0"))
    log.append(Warned(code="a", message="b", fix="c"))
    first, second = [json.loads(line) for line in run.events.read_bytes().splitlines()]
    validator.validate(first)
    assert 0 <= first["t"] <= second["t"] < 5
    assert first["time"].endswith("Z")
    assert first["time"] <= second["time"]


FULL_DISK = """
import resource, sys
from pathlib import Path
from engine.run.event_log import EventLog
from engine.events import Phase
from engine.run.rundir import RunDir
from engine.run.signals import Signals
run = RunDir(Path(sys.argv[1]))
log = EventLog(run)
log.append(Phase(name="first", detail=""))
hard = resource.getrlimit(resource.RLIMIT_FSIZE)[1]
resource.setrlimit(resource.RLIMIT_FSIZE, (run.events.stat().st_size + 9, hard))
log.append(Phase(name="torn", detail=""))
log.append(Phase(name="lost", detail=""))
resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))
log.append(Phase(name="last", detail=""))
"""


def test_a_full_disk_loses_events_and_says_so(tmp_path: Path) -> None:
    subprocess.run([sys.executable, "-c", FULL_DISK, str(tmp_path)], cwd=ROOT, check=True)
    lines = RunDir(tmp_path).events.read_bytes().split(b"\n")
    read = [event for event in map(events.decode, lines) if event]
    assert [event.kind for event in read] == ["phase", "warning", "phase"]
    assert isinstance(read[1], Warned)
    assert read[1].code == "events_lost"
    assert read[1].message.startswith("2 ")
    assert [getattr(event, "name", "") for event in read] == ["first", "", "last"]


ASK = """
import os, signal, sys
from pathlib import Path
from engine.run.control import RunControl
from engine.run.rundir import RunDir
from engine.run.signals import Signals
run = RunDir(Path(sys.argv[1]))
wishes = RunControl(run, Signals())
assert wishes.stopped_by is None
os.kill(os.getpid(), signal.SIGTERM)
print(wishes.stopped_by)
"""


def test_sigterm_is_a_wish_to_stop(tmp_path: Path) -> None:
    told = subprocess.run(
        [sys.executable, "-c", ASK, str(tmp_path)], cwd=ROOT, capture_output=True, check=True
    )
    assert told.stdout == b"SIGTERM\n"


def test_wishes_are_read_once_and_nonsense_is_skipped(tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    wishes = RunControl(run)
    run.ask("save", "a test")
    with run.control.open("ab") as control:
        control.write(b'\xff\n[]\n{}\n{"want": null}\n{"want": "fly"}\n' + b"[" * 100_000 + b"\n")
    run.ask("stop", "first")
    run.ask("stop", "second")
    wishes.poll()
    assert wishes.take("save")
    assert not wishes.take("save")
    assert not wishes.take("sample")
    assert wishes.stopped_by == "first"
    for unknown in (lambda: run.ask("fly", "a test"), lambda: wishes.take("fly")):
        with pytest.raises(ValueError, match="fly"):
            unknown()
