"""Rows of NVIDIA's Nemotron-Personas: turns are composed from the fields that describe a person.

The set holds no dialogue. Each row gives a system turn and two questions with their answers, out of
the fields the row has; wording and fields are drawn by the row's uuid, so the same row always makes
the same turns. No word of an answer is made up.
"""

import random
import tomllib
from pathlib import Path

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats.form import Form, Record

_TABLE = tomllib.loads(Path(__file__).with_name("nemotron_persona.toml").read_text("utf-8"))
QUESTIONS: dict[str, list[str]] = _TABLE["questions"]
_TURNS = 2


def read_persona(record: Record) -> list[Turn]:
    """A system turn of plain facts, and questions answered by fields as they stand."""
    fields = [name for name in QUESTIONS if str(record.get(name) or "").strip()]
    if len(fields) < _TURNS:
        raise UnusableRow("fewer than two persona fields with text")
    draw = random.Random(str(record.get("uuid") or record[fields[0]]))
    facts = [str(record[n]).strip() for n in _TABLE["facts"] if record.get(n) not in (None, "")]
    turns = [Turn("system", _TABLE["system"].format(", ".join(facts)))] if facts else []
    for name in draw.sample(fields, _TURNS):
        turns.append(Turn("user", draw.choice(QUESTIONS[name])))
        turns.append(Turn("assistant", str(record[name]).strip()))
    return turns


PERSONA = Form(
    lambda record: "persona" in record and "professional_persona" in record,
    read_persona,
    frozenset({"uuid", *QUESTIONS, *_TABLE["facts"]}),
)
