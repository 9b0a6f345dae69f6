"""What is asked of a playground survives its line; what makes no sense is no command."""

import json

import pytest

from engine.run import wire
from engine.sessions import playground
from engine.sessions.playground import End, Opening, Prompt, Settings, Side, Stop, decode

TALK = (("system", "Be brief."), ("user", 'a\n"b" 한국어 \ud83d'), ("assistant", ""), ("user", "c"))
PROMPT = Prompt(3, Side.ADAPTER, TALK, Settings(0.7, 0.9, 40, 128, 5))


@pytest.mark.parametrize("command", [PROMPT, Stop(), End()])
def test_a_command_survives_its_line(command: playground.Command) -> None:
    line = wire.line(command)
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert decode(line) == command


def test_names_are_those_of_generation_configs() -> None:
    assert json.loads(wire.line(PROMPT))["settings"].keys() == {
        "temperature", "top_p", "top_k", "max_new_tokens", "seed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"want": "save"}, {"side": "both"}, {"messages": []}, {"messages": [["user"]]},
     {"messages": [["assistant", "a"]]}, {"id": None}, {"mood": 1},
     {"settings": {"top_k": "64"}}, {"settings": {"mood": 1}}],
)  # fmt: skip
def test_what_makes_no_sense_is_none(change: dict[str, object]) -> None:
    record = {**json.loads(wire.line(PROMPT)), **change}
    assert decode(json.dumps(record).encode()) is None


@pytest.mark.parametrize("line", [b"", b"{", b"3", b"[]", b'{"want": 1}', b"[" * 100_000])
def test_a_damaged_line_is_none(line: bytes) -> None:
    assert decode(line) is None


def test_an_opening_survives_its_request() -> None:
    opening = Opening("/runs/a", "checkpoints/step-000040")
    assert playground.opening(json.loads(json.dumps(playground.request(opening)))) == opening
