"""Rows we wrote in the nine formats of the Korean recipe, a few of each."""

from typing import Any

_WORDS = ("봄", "여름", "가을", "겨울", "바다", "산", "강", "들")


def _persona(n: int) -> dict[str, Any]:
    return {
        "uuid": f"persona-{n}",
        "age": 30 + n,
        "sex": "여자",
        "occupation": "교사",
        "province": "강원",
        "persona": f"{_WORDS[n]}을 좋아하는 교사입니다.",
        "professional_persona": f"아이들에게 {_WORDS[n]} 노래를 가르칩니다.",
        "travel_persona": f"{_WORDS[n]} 풍경을 보러 다닙니다.",
        "hobbies_and_interests": "산책과 독서",
    }


NINE: dict[str, list[dict[str, Any]]] = {
    "usr_bot": [
        {"source": "ours", "text": f"<usr> {word}이 뭐예요?\n<bot> {word}은 낱말입니다."}
        if n % 2
        else {"source": "ours", "text": f"<usr>{word}을 설명해\n<sys>짧게\n<bot>{word}입니다."}
        for n, word in enumerate(_WORDS)
    ],
    "instruction_input_output": [
        {"instruction": "다음 낱말을 두 번 쓰세요.", "input": word, "output": f"{word} {word}"}
        for word in _WORDS
    ],
    "question_response": [
        {"question": f"{n} 더하기 {n}은?", "response": f"{n} + {n} = {2 * n}이므로 답은 {2 * n}."}
        for n in range(8)
    ],
    "question_answer": [
        {"question": f"사과 {n}개에 하나를 더하면?", "answer": f"{n + 1}개입니다."}
        for n in range(8)
    ],
    "with_system": [
        {"instruction": f"{word}에 대해 한 문장.", "input": "", "output": f"{word}이 왔습니다."}
        for word in _WORDS
    ],
    "sharegpt": [
        {
            "conversations": [
                {"from": "human", "value": f"{word} 이야기를 해 줘."},
                {"from": "gpt", "value": f"{word} 이야기입니다."},
                {"from": "human", "value": "더 짧게."},
                {"from": "gpt", "value": f"{word}."},
            ]
        }
        for word in _WORDS
    ],
    "instruction_output": [
        {"instruction": f"{word}의 첫 글자는?", "output": f"'{word[0]}'입니다."} for word in _WORDS
    ],
    "title_text": [{"title": word, "text": f"{word}은(는) 우리말 낱말이다."} for word in _WORDS],
    "nemotron_persona": [_persona(n) for n in range(8)],
}
FORMAT = {"question_answer": "question_response", "with_system": "instruction_input_output"}
"""The format of those that are not named by it."""
