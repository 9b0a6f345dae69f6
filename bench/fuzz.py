"""Damaged input for every reader of files: no crash, no hang, nothing written elsewhere.

    python -m bench.fuzz [--inputs 1000000] [--seed 0]

Recipes, requests, plans, lines of events and wishes, manifests, endings and saved prompts are taken
from real ones: cut, flipped, repeated, joined, nested deep, and sprinkled with what parsers stumble
over. Pipes, devices, directories and links take the places of a run's files.
"""

import argparse
import json
import os
import random
import sys
import tempfile
import time
import tomllib
import types
import typing
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import msgspec

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

from engine.events import KINDS, Metric, decode, decode_all, encode  # noqa: E402
from engine.hardware import profiles  # noqa: E402
from engine.problems import Refusal  # noqa: E402
from engine.recipe import toml_document, validate  # noqa: E402
from engine.run import checkpoint_manifest, lock, run_summary  # noqa: E402
from engine.run.control import RunControl  # noqa: E402
from engine.run.request import Parent, Request  # noqa: E402
from engine.run.rundir import RunDir  # noqa: E402
from engine.run.tail import Tail  # noqa: E402
from workbench.sessions import saved_prompts  # noqa: E402
from workbench.text import saved_theme  # noqa: E402

SPRINKLED = (
    b"{", b"}", b"[", b"]", b'"', b",", b":", b"\\", b"\\u0000", b"\\ud800", b"\0", b"\n", b"\xff",
    b"NaN", b"Infinity", b"1e999", b"-1", b"null", b"true", b"9" * 400, b"[" * 3000, b"../",
    b"\x1b[2J", b"=", b"'", b"#", b"\xef\xbb\xbf", b"{}", b'{"a":' * 50, b"0x1", b"1979-05-27",
    b"[" * 100_000, b'{"a":' * 300 + b"1" + b"}" * 300, b"9" * 5000,
    b".".join([b"a"] * 500) + b"=1",
)  # fmt: skip
SHARES = {
    "events": 0.6,
    "control": 0.23,
    "tail": 0.03,
    "table": 0.04,
    "prompts": 0.02,
    "special": 0.01,
    "recipe": 0.02,
    "request": 0.02,
    "manifest": 0.02,
    "ending": 0.01,
}
SLOW_S = 2.0
"""Of a processor: what a reader waits for a busy machine is no fault of its own."""
STUCK_S = 60.0
_CHANGING = {"os.rename", "os.remove", "os.mkdir", "os.rmdir", "os.link", "os.symlink", "os.chmod"}
Reader = Callable[[bytes], Any]


def damaged(draw: random.Random, seeds: list[bytes]) -> bytes:
    """One of them, changed in one way, or seldom in several."""
    data = bytearray(draw.choice(seeds))
    for _ in range(1 + int(draw.expovariate(1.5))):
        at, length = draw.randrange(len(data) + 1), draw.randint(1, 20)
        match draw.randrange(6):
            case 0 if data:
                data[min(at, len(data) - 1)] ^= 1 << draw.randrange(8)
            case 1:
                del data[at : at + length]
            case 2:
                data[at:at] = data[at : at + length] * draw.randint(1, 3)
            case 3:
                other = draw.choice(seeds)
                data[at:] = other[draw.randrange(len(other) + 1) :]
            case 4:
                del data[at:]
            case _:
                data[at:at] = draw.choice(SPRINKLED)
    return bytes(data)


class DamagedRun:
    """A run whose files are written as the bytes say, each with the reader that meets it.

    What readers may raise is what their callers tell users.
    """

    def __init__(self, folder: Path) -> None:
        self.run = RunDir(folder)
        self.checkpoint = self.run.checkpoint(2)
        self.checkpoint.mkdir(parents=True)
        (self.checkpoint / "one").write_bytes(b"12345")
        recipe, _ = validate.load("quickstart", [])
        parent = Parent("a", "b", 2)
        self.run.write_request(Request("mine", recipe, profiles.profile("cpu"), parent=parent))
        facts = {"recipe": {"a": [1]}, "template_hash": "0"}
        checkpoint_manifest.write(self.checkpoint, 2, facts)
        self.manifest = self.checkpoint / checkpoint_manifest.NAME

    def read_recipe(self, data: bytes) -> bool:
        """As a recipe's file beside the run, on paper."""
        try:
            document = toml_document.settings(data.decode(), self.run.path, [])
        except (tomllib.TOMLDecodeError, UnicodeDecodeError, ValueError, RecursionError):
            return False
        validate.problems(document, on_paper=True)
        return True

    def read_control(self, data: bytes) -> bool:
        self.run.control.write_bytes(data + b"\n")
        wishes = RunControl(self.run)
        wishes.poll()
        return wishes.stopped_by is not None or wishes.take("save")

    def read_request(self, data: bytes) -> bool:
        self.run.request.write_bytes(data)
        try:
            return bool(self.run.read_request().recipe)
        except Refusal:
            return False

    def read_manifest(self, data: bytes) -> bool:
        self.manifest.write_bytes(data)
        return checkpoint_manifest.newest(self.run)[0] is not None or self._read_sealed(data)

    def _read_sealed(self, data: bytes) -> bool:
        """As from a stranger who knows how manifests are sealed."""
        try:
            document = json.loads(data)
            document.pop("sha256", None)
            sealed = {**document, "sha256": checkpoint_manifest.seal(document)}
        except (ValueError, AttributeError, TypeError, RecursionError):
            return False
        self.manifest.write_text(json.dumps(sealed), "utf-8", "surrogatepass")
        return checkpoint_manifest.newest(self.run)[0] is not None

    def read_ending(self, data: bytes) -> bool:
        self.run.ending.write_bytes(data)
        self.run.lock.write_bytes(data)
        self.run.events.write_bytes(data + b"\n")
        lock.holder(self.run.lock)
        return self.run.state().cause != "the machine or its supervisor went down with it"

    def read_tail(self, data: bytes) -> bool:
        self.run.events.write_bytes(data)
        return bool(decode_all(Tail(self.run.events).read_new()))

    def read_table(self, data: bytes) -> bool:
        """As a plan and as a request at once, for a row of the table of runs."""
        self.run.plan.write_bytes(data)
        self.run.request.write_bytes(data)
        return bool(run_summary.summarize(self.run).total_steps)

    def read_special(self, data: bytes) -> bool:
        """A pipe, a device, a directory or a link in the place of a file, as the bytes say."""
        run = self.run
        files = (run.request, run.plan, run.events, run.control, run.lock, run.ending)
        data = data.ljust(2)
        path, kind = files[data[0] % len(files)], data[1] % 4
        path.unlink(missing_ok=True)
        ((os.mkfifo, os.mkdir)[kind] if kind < 2 else (
            lambda place: os.symlink(("/dev/zero", path)[kind - 2], place)
        ))(path)  # fmt: skip
        summary = run_summary.summarize(run)
        lines = [*run.last_events(), *Tail(path).read_new(), run.is_alive(), lock.holder(run.lock)]
        path.rmdir() if kind == 1 else path.unlink()
        assert summary.state.name == "damaged", (path, kind, summary)
        return bool(lines)


def read_prompts(data: bytes) -> bool:
    """As saved prompts and the saved theme."""
    saved_prompts.path().parent.mkdir(exist_ok=True)
    saved_prompts.path().write_bytes(data)
    saved_theme.read()
    try:
        return bool(saved_prompts.read())
    except ValueError:
        return False


def readers(folder: Path) -> dict[str, tuple[Reader, list[bytes]]]:
    """Each with real input to begin from."""
    work = DamagedRun(folder)
    request = work.run.request.read_bytes()
    events = [_event(kind) for kind in KINDS]
    endings = [
        b'{"exit": null, "signal": 9, "max_rss_kib": 1, "oom_kills": {"cgroup": 1}, "ended": ""}',
        b'{"pid": 1, "host": "h", "boot_id": "b", "started": "1"}',
    ]
    wishes = [b'{"want": "stop", "by": "app"}', b'{"want": "save"}\n{"want": "sample", "by": "x"}']
    places = [bytes([file, kind]) + b"." * 40 for file in range(6) for kind in range(4)]
    return {
        "events": (decode, events),
        "control": (work.read_control, wishes),
        "recipe": (
            work.read_recipe,
            [path.read_bytes() for path in (ROOT / "recipes").glob("*.toml")],
        ),
        "request": (work.read_request, [request]),
        "manifest": (work.read_manifest, [work.manifest.read_bytes()]),
        "ending": (work.read_ending, [*endings * len(events), *events]),
        "tail": (work.read_tail, [b"\n".join(events) + b"\n"]),
        "table": (work.read_table, [request, b'{"plan": {"total_steps": 3}}']),
        "prompts": (read_prompts, [b"[samples]\nprompts = ['a', 'b']\n"]),
        "special": (work.read_special, places),
    }


def _event(kind: str) -> bytes:
    """A line of a kind as the engine would write it, with some value for every key."""
    cls = KINDS[kind]
    event = cls(**{field.name: _value(field.type) for field in msgspec.structs.fields(cls)})
    line = encode(event).rstrip(b"\n")
    assert decode(line) == event, "what is no event to begin with finds nothing"
    return line


def _value(hint: Any) -> Any:
    """One that a type admits; of a union its first."""
    if typing.get_origin(hint) is typing.Annotated:
        return _value(typing.get_args(hint)[0])
    if typing.get_origin(hint) is tuple:
        return (_value(typing.get_args(hint)[0]),) * 2
    if typing.get_origin(hint) is dict:
        return {"key": _value(typing.get_args(hint)[1])}
    if typing.get_origin(hint) in {types.UnionType, typing.Union}:
        return _value(typing.get_args(hint)[0])
    if hint is Metric:
        return Metric(name="loss", title="loss")
    return {int: 3, float: 0.5, str: "a \u2028 b"}[hint]


def fuzz(inputs: int, seed: int, folder: Path) -> dict[str, Counter[str]]:
    """What was read, and how often it took; raises what a reader raised, with its input."""
    draw, written = random.Random(seed), set[str]()

    def watch(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "open" and not isinstance(arguments[0], int):
            flags = arguments[2] or 0
            if flags & (os.O_WRONLY | os.O_RDWR | os.O_CREAT):
                written.add(str(arguments[0]))
        elif event in _CHANGING:
            written.add(str(arguments[event == "os.symlink"]))

    sys.addaudithook(watch)
    outcomes = {}
    for name, (read, seeds) in readers(folder).items():
        counted = outcomes[name] = Counter[str]()
        for _ in range(round(inputs * SHARES[name])):
            data = damaged(draw, seeds)
            began, worked = time.monotonic(), time.process_time()
            try:
                accepted = read(data)
            except Exception as error:
                raise AssertionError(f"{name} fell over {data!r}") from error
            took_s, work_s = time.monotonic() - began, time.process_time() - worked
            is_prompt = work_s < SLOW_S and took_s < STUCK_S
            assert is_prompt, f"{name} took {work_s:.1f} of {took_s:.1f} s over {data!r}"
            counted["inputs"] += 1
            counted["accepted"] += bool(accepted)
    elsewhere = [path for path in written if not path.startswith(str(folder))]
    assert written, "a hook that heard nothing proves nothing"
    assert not elsewhere, elsewhere
    return outcomes


def main() -> None:
    """Fuzz all of them, and print what was done."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--inputs", type=int, default=1_000_000)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    began = time.monotonic()
    with tempfile.TemporaryDirectory(prefix="fuzz-") as folder:
        os.environ["XDG_DATA_HOME"] = str(Path(folder) / "home")
        Path(folder, "home").mkdir()
        outcomes = fuzz(options.inputs, options.seed, Path(folder))
    for name, counted in outcomes.items():
        accepted = f"{counted['accepted']:,} of them still read as something"
        print(f"{name:<10} {counted['inputs']:>9,} inputs, none fell over; {accepted}")
    print(f"{time.monotonic() - began:.0f} s")


if __name__ == "__main__":
    main()
