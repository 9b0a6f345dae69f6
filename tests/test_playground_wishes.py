"""What is asked of a playground survives its line; what makes no sense is no wish."""

import json

import pytest

from engine.sessions import playground
from engine.sessions.playground import Asked, End, Opening, Settings, Stop, decode, encode

TALK = (("system", "Be brief."), ("user", 'a\n"b" 한국어 \ud83d'), ("assistant", ""), ("user", "c"))
ASKED = Asked(3, "adapter", TALK, Settings(0.7, 0.9, 40, 128, 5))


@pytest.mark.parametrize("wish", [ASKED, Stop(), End()])
def test_a_wish_survives_its_line(wish: playground.Wish) -> None:
    line = encode(wish)
    assert (line.count(b"\n"), line[-1:]) == (1, b"\n")
    assert decode(line) == wish


def test_names_are_those_of_generation_configs() -> None:
    assert json.loads(encode(ASKED)).keys() == {
        "want", "id", "side", "messages", "temperature", "top_p", "top_k", "max_new_tokens", "seed",
    }  # fmt: skip


@pytest.mark.parametrize(
    "change",
    [{"want": "save"}, {"side": "both"}, {"messages": []}, {"messages": [{"role": "user"}]},
     {"messages": [{"role": "assistant", "content": "a"}]}, {"id": None}, {"mood": 1}],
)  # fmt: skip
def test_what_makes_no_sense_is_none(change: dict[str, object]) -> None:
    record = {**json.loads(encode(ASKED)), **change}
    assert decode(json.dumps(record).encode()) is None


@pytest.mark.parametrize("line", [b"", b"{", b"3", b"[]", b'{"want": 1}', b"[" * 100_000])
def test_a_damaged_line_is_none(line: bytes) -> None:
    assert decode(line) is None


def test_an_opening_survives_its_request() -> None:
    opening = Opening("/runs/a", "checkpoints/step-000040")
    assert playground.opening(json.loads(json.dumps(playground.request(opening)))) == opening
