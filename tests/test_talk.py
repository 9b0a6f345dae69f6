"""What a playground shows, folded from events that a real engine told."""

import msgspec
import pytest
from staged_playground import PROMPTS, answers, opening, recorded

from engine.events import Answered, Failed, Piece
from engine.sessions.playground import Settings
from workbench.commands.talk_command import remarks
from workbench.sessions.chat import Chat, Exchange, Reply
from workbench.sessions.sampling import DEFAULTS, problems_of, settings_of

GREEDY = Settings()


def talked(count: int = 4) -> Chat:
    talk = Chat().fold(opening())
    for number, prompt in enumerate(PROMPTS[:count], 1):
        talk = talk.prompted(number, prompt).fold(answers(number))
    return talk


def test_loading_is_told_step_by_step() -> None:
    talk = Chat()
    assert not talk.is_started
    seen = []
    for event in opening():
        talk = talk.fold([event])
        seen.append((talk.is_started, talk.phase.name if talk.phase else "", bool(talk.opened)))
    assert seen == [
        (True, "", False), (True, "reading", False), (True, "loading", False),
        (True, "loading", True),
    ]  # fmt: skip
    assert talk.opened is not None
    assert (talk.opened.adapter, talk.opened.step) == ("adapter", 256)


def test_an_answer_grows_and_ends() -> None:
    talk = Chat().fold(opening()).prompted(1, PROMPTS[0])
    assert talk.is_answering
    lengths = []
    for event in answers(1):
        talk = talk.fold([event])
        lengths.append(len(talk.exchanges[0].adapter.text))
        assert talk.is_answering is not talk.exchanges[0].is_over
    assert lengths == sorted(lengths)
    exchange = talk.exchanges[0]
    assert exchange.adapter.said == "Kujula Kadphises founded the Kushan Empire."
    assert exchange.base.said == "Babur founded the Kushan Empire."
    assert (exchange.adapter.reason, exchange.adapter.tokens) == ("stop", 16)
    assert talk.rates.keys() == {"base", "adapter"}
    assert talk.rates["adapter"] == pytest.approx(16 / exchange.adapter.seconds)
    assert not talk.is_answering


def test_batches_make_no_difference() -> None:
    talk = Chat()
    for number, prompt in enumerate(PROMPTS, 1):
        talk = talk.prompted(number, prompt)
    at_once = talk.fold(recorded())
    for event in recorded():
        talk = talk.fold([event])
    assert talk == at_once


def test_each_side_goes_on_with_its_own_answers() -> None:
    base, adapter = talked(2).prompted(3, "And then?").prompts(GREEDY, " Be brief. ")
    assert (base.id, base.side, adapter.side) == (3, "base", "adapter")
    assert base.settings is GREEDY
    assert base.messages == (
        ("system", "Be brief."),
        ("user", PROMPTS[0]),
        ("assistant", "Babur founded the Kushan Empire."),
        ("user", PROMPTS[1]),
        ("assistant", "The capital of capital isabur capital."),
        ("user", "And then?"),
    )
    assert adapter.messages[2] == ("assistant", "Kujula Kadphises founded the Kushan Empire.")


def test_without_a_system_prompt_there_is_no_such_turn() -> None:
    base, _ = Chat().prompted(1, "a").prompts(GREEDY, "  ")
    assert base.messages == (("user", "a"),)


def test_a_prompt_that_one_side_said_nothing_to_is_left_out_for_it() -> None:
    stopped = {"prompt_tokens": 4, "tokens": 0, "seconds": 0.0, "reason": "stopped"}
    talk = (
        Chat()
        .prompted(1, "a")
        .fold(
            [
                Piece(id=1, side="base", text=" b", tokens=1, seconds=0.1),
                *(Answered(id=1, side=side, **stopped) for side in ("base", "adapter")),  # type: ignore
            ]
        )
    )
    base, adapter = talk.prompted(2, "c").prompts(GREEDY, "")
    assert base.messages == (("user", "a"), ("assistant", "b"), ("user", "c"))
    assert adapter.messages == (("user", "c"),)


def test_answers_to_what_is_forgotten_go_nowhere() -> None:
    talk = talked(1).forgotten()
    assert talk.fold(answers(1)).exchanges == ()
    assert not talk.is_answering
    assert talk.rates


def test_nothing_is_awaited_from_an_engine_that_is_gone() -> None:
    talk = Chat().fold(opening()).prompted(1, "a").fold(answers(1)[:5])
    failed = Failed(phase="loading", error="the engine was killed", hint="", log="")
    ended = talk.ended(failed)
    assert not ended.is_answering
    assert ended.exchanges[0].base.text
    assert ended.ended(msgspec.structs.replace(failed, error="again")).failed == failed
    assert Chat().fold([failed]).failed == failed


def test_an_answer_without_words_is_told() -> None:
    silent, spoken = Reply(" \n", 2, 0.1, "stop"), Reply("Yes.", 2, 0.1, "stop")
    failed = Reply("", 0, 0.0, "failed", "out of\nmemory")
    assert [*remarks(Exchange(1, "Why\x1b?", silent, spoken))] == [
        "base says nothing to 'Why\N{SYMBOL FOR ESCAPE}?' [stop]"
    ]
    assert [*remarks(Exchange(1, "Why?", spoken, failed))] == ["adapter: out of memory"]
    assert [*remarks(Exchange(1, "Why?", spoken, spoken))] == []


def test_sides_that_are_none_are_left_out() -> None:
    talk = Chat().prompted(1, "a")
    assert talk.fold([Piece(id=1, side="both", text="b", tokens=1, seconds=1)]) == talk
    assert talk.exchanges == (Exchange(1, "a"),)


def test_settings_as_they_stand_are_right() -> None:
    assert problems_of(DEFAULTS) == {}
    assert settings_of(DEFAULTS) == Settings()


@pytest.mark.parametrize(
    ("key", "text"),
    [("temperature", "-0.1"), ("temperature", "warm"), ("temperature", ""), ("temperature", "nan"),
     ("temperature", "inf"), ("top_p", "0"), ("top_p", "1.1"), ("top_k", "1.5"), ("top_k", "-1"),
     ("max_new_tokens", "0"), ("max_new_tokens", "1e3"), ("seed", "-1"), ("seed", "9" * 5000)],
)  # fmt: skip
def test_what_no_setting_can_be(key: str, text: str) -> None:
    (told,) = problems_of({**DEFAULTS, key: text}).values()
    assert told.startswith(f"{key} is a")


def test_settings_that_were_typed() -> None:
    typed = {"temperature": "0.7", "top_p": "1", "top_k": "0", "max_new_tokens": "9", "seed": "4"}
    assert problems_of(typed) == {}
    assert settings_of(typed) == Settings(0.7, 1.0, 0, 9, 4)
