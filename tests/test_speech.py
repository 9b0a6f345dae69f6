"""Answers made token by token are those that training's own samples and transformers give."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from conftest import KINDS
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from peft.tuners.tuners_utils import BaseTunerLayer
from transformers import AutoTokenizer

from engine.data.conversation import Turn
from engine.data.encoding.template import prompt_ids, template
from engine.events import Answered, Event, Piece, decode
from engine.gemma.config import dialect_of
from engine.model import lora
from engine.model.adapter_switch import AdapterSwitch
from engine.model.answers.detokenizer import IncrementalDetokenizer
from engine.model.answers.generate import answer
from engine.model.answers.playground_server import PlaygroundServer
from engine.model.answers.token_stream import TokenStream
from engine.recipe.schema import Adapter
from engine.run import wire
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import serve
from engine.sessions.playground import SIDES, End, Prompt, Settings, Side, Stop
from tests import tiny

TALK = (
    ("system", "Be brief."),
    ("user", "Name a fruit."),
    ("assistant", "A pear 🌰."),
    ("user", "Another <turn|> one?"),
)
QUESTION = (("user", "What is the capital of Japan?"),)
LONG = Settings(temperature=4.0, top_p=1.0, top_k=0, max_new_tokens=4_000)


def adapted(folder: Path) -> AdapterSwitch:
    """A tiny Gemma whose adapter is not nothing."""
    gemma = tiny.loaded(folder)
    model = lora.attach(gemma.model, Adapter(r=4, lora_alpha=8), 0)
    torch.manual_seed(1)
    for name, parameter in model.named_parameters():
        if "lora_B" in name:
            parameter.data.normal_(std=0.1)
    layers = tuple(layer for layer in model.modules() if isinstance(layer, BaseTunerLayer))
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    return AdapterSwitch(model.eval(), gemma.tokenizer, chosen, gemma.dtype, layers)


@pytest.fixture(scope="module")
def embedded(gemma_folder: Callable[[str], Path]) -> AdapterSwitch:
    return adapted(gemma_folder("embedded"))


def said(asked: Prompt, by: AdapterSwitch) -> tuple[str, TokenStream]:
    """The whole of an answer."""
    speech, text = TokenStream(asked, by), ""
    while not speech.reason:
        text += speech.step()
    return text, speech


@pytest.mark.parametrize("kind", KINDS)
def test_both_sides_in_turns_say_what_each_says_alone(
    kind: str, gemma_folder: Callable[[str], Path]
) -> None:
    made = adapted(gemma_folder(kind))
    settings = Settings(max_new_tokens=12)
    speeches = [TokenStream(Prompt(1, side, TALK, settings), made) for side in SIDES]
    texts = ["", ""]
    while not all(speech.reason for speech in speeches):
        for place, speech in enumerate(speeches):
            texts[place] += "" if speech.reason else speech.step()
    turns = tuple(Turn(*message) for message in TALK)
    alone = [
        answer(made.model, made.tokenizer, made.template, [turns], 12, as_base=side == "base")[0]
        for side in SIDES
    ]
    assert [text.strip() for text in texts] == alone
    assert alone[0] != alone[1]


def test_a_large_gemma_4_is_asked_with_an_empty_thought(
    gemma_folder: Callable[[str], Path],
) -> None:
    made = adapted(gemma_folder("gemma4_moe"))
    speech = TokenStream(Prompt(1, Side.BASE, QUESTION), made)
    shown = made.tokenizer.decode(speech._prompt)
    assert shown.endswith("<|turn>model\n<|channel>thought\n<channel|>")
    assert speech.prompt_tokens == len(speech._prompt)


def test_a_prompt_without_a_system_turn_of_its_own(gemma_folder: Callable[[str], Path]) -> None:
    made = adapted(gemma_folder("gemma3"))
    shown = made.tokenizer.decode(TokenStream(Prompt(1, Side.BASE, TALK), made)._prompt)
    assert shown.startswith("<bos><start_of_turn>user\nBe brief.\n\nName a fruit.<end_of_turn>")


@pytest.mark.parametrize(
    ("temperature", "top_k", "top_p"),
    [(0.7, 0, 1.0), (1.0, 64, 0.95), (1.5, 5, 1.0), (3.0, 0, 0.6)],
)
def test_tokens_are_drawn_as_transformers_draws_them(
    embedded: AdapterSwitch, temperature: float, top_k: int, top_p: float
) -> None:
    settings = Settings(temperature, top_p, top_k, max_new_tokens=24, seed=11)
    ids = prompt_ids(embedded.tokenizer, embedded.template, (Turn(*QUESTION[0]),))
    torch.manual_seed(11)
    theirs = embedded.model.generate(
        input_ids=torch.tensor([ids]), attention_mask=torch.ones(1, len(ids), dtype=torch.long),
        max_new_tokens=24, do_sample=True, temperature=temperature, top_k=top_k, top_p=top_p,
    )[0, len(ids):]  # fmt: skip
    text, _ = said(Prompt(1, Side.ADAPTER, QUESTION, settings), embedded)
    assert text == embedded.tokenizer.decode(theirs, skip_special_tokens=True)


def test_a_seed_says_the_same_again_and_another_does_not(embedded: AdapterSwitch) -> None:
    def drawn(seed: int) -> str:
        settings = Settings(1.2, max_new_tokens=16, seed=seed)
        return said(Prompt(1, Side.ADAPTER, QUESTION, settings), embedded)[0]

    assert drawn(3) == drawn(3)
    assert len({drawn(seed) for seed in range(6)}) > 1


def test_an_answer_ends_by_itself_or_at_its_length(embedded: AdapterSwitch) -> None:
    _, speech = said(Prompt(1, Side.BASE, QUESTION, Settings(max_new_tokens=60)), embedded)
    assert speech.reason == "stop"
    assert 0 < speech.tokens < 60
    assert speech.seconds > 0
    _, speech = said(Prompt(1, Side.BASE, QUESTION, Settings(max_new_tokens=3)), embedded)
    assert (speech.reason, speech.tokens) == ("length", 3)


def test_the_end_of_a_turn_ends_an_answer_that_the_model_does_not_end_there(
    embedded: AdapterSwitch,
) -> None:
    named = embedded.model.generation_config
    whole, speech = said(Prompt(1, Side.BASE, QUESTION, Settings(max_new_tokens=60)), embedded)
    kept, named.eos_token_id = named.eos_token_id, 1
    try:
        text, again = said(Prompt(1, Side.BASE, QUESTION, Settings(max_new_tokens=60)), embedded)
        turns = [(Turn(*QUESTION[0]),)]
        sampled = answer(
            embedded.model, embedded.tokenizer, embedded.template, turns, 60, as_base=True
        )
    finally:
        named.eos_token_id = kept
    assert (text, again.tokens) == (whole, speech.tokens)
    assert sampled == [whole.strip()]


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


@given(text=st.text(st.characters(exclude_categories=["Cs"]), max_size=40) | st.just("𓀀€ 한국 🌰a"))
@settings(max_examples=80, deadline=None, suppress_health_check=list(HealthCheck), database=None)
def test_pieces_are_whole_characters_and_make_up_the_text(text: str, tokenizer: Any) -> None:
    ids = tokenizer.encode(text, add_special_tokens=False)
    spelling = IncrementalDetokenizer(tokenizer)
    pieces = [*map(spelling.add, ids), spelling.rest()]
    whole = tokenizer.decode(ids, skip_special_tokens=True)
    assert "".join(pieces) == whole
    assert "\ufffd" in text or not any("\ufffd" in piece for piece in pieces)


def test_bytes_that_are_no_character_are_told_once(tokenizer: Any) -> None:
    names = ["▁", "<0xE2>", "<0x82>", "<0xAC>", "<0xFF>", "a", "<0xE2>"]
    ids = tokenizer.convert_tokens_to_ids(names)
    spelling = IncrementalDetokenizer(tokenizer)
    pieces = [*map(spelling.add, ids), spelling.rest()]
    assert "".join(pieces) == tokenizer.decode(ids)
    assert pieces[:5] == [" ", "", "", "", ""]


def served(by: AdapterSwitch, folder: Path, *commands: Any) -> list[Event]:
    """What a server tells to commands that lie there when it opens, up to the end."""
    folder.mkdir(exist_ok=True)
    run = RunDir(folder)
    run.control.write_bytes(b"".join(map(wire.line, (*commands, End()))))
    serve.answer(PlaygroundServer(by, EventLog(run)), run.wishes())
    lines = run.events.read_bytes().splitlines() if run.events.exists() else []
    return [event for line in lines if (event := decode(line))]


def test_stop_ends_what_is_asked_before_it(embedded: AdapterSwitch, tmp_path: Path) -> None:
    asked = [Prompt(number, side, QUESTION, LONG) for number in (1, 2) for side in SIDES]
    told = served(embedded, tmp_path, *asked, Stop())
    ends = [(e.id, e.side, e.reason, e.tokens) for e in told if isinstance(e, Answered)]
    assert ends == [(number, side, "stopped", 0) for number in (1, 2) for side in SIDES]


def test_stop_is_heard_between_two_tokens(embedded: AdapterSwitch, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    run.control.write_bytes(b"".join(wire.line(Prompt(1, side, QUESTION, LONG)) for side in SIDES))
    server, tail = PlaygroundServer(embedded, EventLog(run)), run.wishes()
    assert all(map(server.hear, tail.read_new()))
    for _ in range(5):
        server.go_on()
    with run.control.open("ab") as control:
        control.write(wire.line(Stop()))
    assert all(map(server.hear, tail.read_new()))
    told = [event for line in run.events.read_bytes().splitlines() if (event := decode(line))]
    ends = [event for event in told if isinstance(event, Answered)]
    assert [(end.side, end.reason, end.tokens) for end in ends] == [
        (side, "stopped", 5) for side in SIDES
    ]
    pieces = "".join(e.text for e in told if isinstance(e, Piece) and e.side == "base")
    assert pieces


def test_a_talk_that_fails_does_not_end_the_others(embedded: AdapterSwitch, tmp_path: Path) -> None:
    run = RunDir(tmp_path)
    broken = Prompt(
        1, Side.BASE, (("user", "a"), ("sage", "b"), ("user", "c")), Settings(top_p=-1.0)
    )
    bad = Prompt(2, Side.BASE, QUESTION, Settings(temperature=-1.0))
    good = Prompt(3, Side.BASE, QUESTION, Settings(max_new_tokens=2))
    run.control.write_bytes(b"".join(map(wire.line, (broken, bad, good))))
    server, tail = PlaygroundServer(embedded, EventLog(run)), run.wishes()
    assert all(map(server.hear, tail.read_new()))
    for _ in range(60):
        server.go_on()
    told = [event for line in run.events.read_bytes().splitlines() if (event := decode(line))]
    ends = {event.id: event for event in told if isinstance(event, Answered)}
    assert ends[2].reason == "failed"
    assert "temperature" in (ends[2].error or "")
    assert (ends[3].reason, ends[3].tokens) == ("length", 2)
