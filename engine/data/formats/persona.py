"""Rows of NVIDIA's Nemotron-Personas: turns are composed from the fields that describe a person.

The set holds no dialogue. Each row gives a system turn and two questions with their answers, out of
the fields the row has; wording and fields are drawn by the row's uuid, so the same row always makes
the same turns. No word of an answer is made up.
"""

import random

from engine.data.conversation import Turn, UnusableRow
from engine.data.formats.form import Form, Record

QUESTIONS = {
    "persona": ("어떤 분이신지 소개해 주세요.", "본인을 간단히 소개해 주시겠어요?"),
    "professional_persona": ("일하실 때는 어떤 분이신가요?", "직업과 일하는 방식을 알려 주세요."),
    "sports_persona": ("운동은 어떻게 즐기시나요?", "스포츠와 관련된 이야기를 들려주세요."),
    "arts_persona": ("문화 생활은 어떻게 하시나요?", "어떤 예술을 좋아하시나요?"),
    "travel_persona": ("여행은 어떻게 다니시나요?", "여행 취향을 알려 주세요."),
    "culinary_persona": ("음식 취향이 어떻게 되시나요?", "요리나 음식 이야기를 해 주세요."),
    "family_persona": ("가족에 대해 말씀해 주세요.", "가족과는 어떻게 지내시나요?"),
    "cultural_background": ("어떤 환경에서 자라셨나요?", "문화적 배경을 알려 주세요."),
    "skills_and_expertise": ("무엇을 잘하시나요?", "전문 분야가 무엇인가요?"),
    "hobbies_and_interests": ("취미가 무엇인가요?", "쉴 때는 무엇을 하시나요?"),
    "career_goals_and_ambitions": ("앞으로의 목표는 무엇인가요?", "이루고 싶은 꿈이 있나요?"),
}
"""Two wordings of the question that each field answers."""

_SYSTEM = "다음 인물이 되어 대화하세요: {}."
_FACTS = ("age", "sex", "occupation", "district", "province")
_TURNS = 2


def read_persona(record: Record) -> list[Turn]:
    """A system turn of plain facts, and questions answered by fields as they stand."""
    told = [name for name in QUESTIONS if str(record.get(name) or "").strip()]
    if len(told) < _TURNS:
        raise UnusableRow("fewer than two persona fields with text")
    draw = random.Random(str(record.get("uuid") or record[told[0]]))
    facts = [str(record[name]).strip() for name in _FACTS if record.get(name) not in (None, "")]
    turns = [Turn("system", _SYSTEM.format(", ".join(facts)))] if facts else []
    for name in draw.sample(told, _TURNS):
        turns.append(Turn("user", draw.choice(QUESTIONS[name])))
        turns.append(Turn("assistant", str(record[name]).strip()))
    return turns


PERSONA = Form(
    lambda record: "persona" in record and "professional_persona" in record, read_persona
)
