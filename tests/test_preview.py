"""A preview's engine: shows what the trainer gets, answers again at once, and leaves nothing."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from engine.data.encoding.template import choose
from engine.data.prepare import prepare
from engine.gemma.config import dialect_of
from engine.model import lora
from engine.objectives.sft import SupervisedFineTuning
from engine.recipe.schema import Data, Recipe
from engine.run import wire
from engine.sessions.preview import (
    Answer,
    Broken,
    Question,
    Refused,
    Reply,
    decode_question,
)
from engine.sessions.session_dir import SessionDir
from engine.train.optimizer import optimizer_of
from engine.train.state import assembled
from tests import command, tiny
from workbench.sessions import engine_session
from workbench.sessions.engine_session import Preview

ROWS = [
    {"messages": [{"role": "user", "content": "What is a pear?"},
                  {"role": "assistant", "content": "A fruit. " * 40}]},
    {"messages": [{"role": "system", "content": "Be brief."},
                  {"role": "user", "content": "Say <|turn> and 한국어"},
                  {"role": "assistant", "content": "No 🌰"},
                  {"role": "user", "content": "Why?"},
                  {"role": "assistant", "content": "So."}]},
    {"messages": [{"role": "user", "content": "And a fig?"},
                  {"role": "assistant", "content": "Another fruit."}]},
    {"messages": [{"role": role, "content": f"{n} and {said}"} for n, said in enumerate(
                      ("one", "many words " * 20, "three"))
                  for role in ("user", "assistant")]},
]  # fmt: skip
VIEWER = """
import sys, time
from workbench.sessions import engine_session
from engine.recipe import validate
shown = engine_session.start_preview()
shown.ask(validate.load(sys.argv[1], [])[0])
while shown.poll() is None:
    time.sleep(0.01)
print(shown._files.path, shown._engine.pid, flush=True)
time.sleep(600)
"""


def chosen(path: Path, **data: Any) -> Recipe:
    """A recipe on the rows of a file."""
    sources = [{"path": str(path)}]
    return Recipe(data=Data.model_validate({"sources": sources, "max_length": 90, **data}))


@pytest.fixture
def rows(tmp_path: Path) -> Path:
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in ROWS))
    return path


@pytest.fixture(scope="module")
def shown(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Preview]:
    """One engine for all tests that leave it whole."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr("tempfile.tempdir", str(tmp_path_factory.mktemp("tmp")))
        started = engine_session.start_preview()
    yield started
    started.close()


def waited(asked: Preview) -> Reply:
    reply: list[Reply] = []
    command.wait(lambda: reply.append(r) if (r := asked.poll()) else reply)
    return reply[0]


def answer(asked: Preview, choice: Recipe, **which: Any) -> Answer:
    number = asked.ask(choice, **which)
    reply = waited(asked)
    assert isinstance(reply, Answer), reply
    assert reply.number == number
    return reply


@pytest.mark.parametrize("loss_on", ["assistant", "last", "completion", "all"])
@pytest.mark.parametrize("truncation", ["cut_end", "cut_middle"])
def test_it_shows_the_ids_and_labels_that_the_trainer_hands_to_the_model(
    shown: Preview, rows: Path, tmp_path: Path, gemma_folder: Callable[[str], Path],
    loss_on: str, truncation: str,
) -> None:  # fmt: skip
    choice = chosen(rows, loss_on=loss_on, truncation=truncation)
    told = answer(shown, choice, rows=50)
    gemma = tiny.loaded(gemma_folder("embedded"))
    training = choice.training.model_copy(update={"per_device_train_batch_size": len(ROWS)})
    template = choose("engine", gemma.tokenizer, dialect_of(gemma.model.config.to_dict()))
    prepared = prepare(choice.data, gemma.tokenizer, template)
    model = lora.attach(gemma.model, choice.adapter, 0)
    objective = SupervisedFineTuning()
    sequences = objective.sequences(choice.data, prepared)
    optimizer = optimizer_of(model, training)
    state = assembled(model, gemma, sequences, objective, optimizer, training, choice.data)
    (batch,) = list(state.loader)
    longest = batch["input_ids"].shape[1]
    padding = gemma.tokenizer.pad_token_id
    expected = sorted(
        (
            [*row.input_ids, *[padding] * (longest - len(row.input_ids))],
            [*row.labels, *[-100] * (longest - len(row.labels))],
        )
        for row in told.rows
    )
    received = zip(batch["input_ids"].tolist(), batch["labels"].tolist(), strict=True)
    assert sorted(received) == expected
    is_last_cut_off = truncation == "cut_end" and loss_on in {"last", "completion"}
    cuts = [True, False, False, True][: 3 if is_last_cut_off else 4]
    assert [row.truncated for row in told.rows] == cuts
    assert told.template_sha256 == template.sha256


def test_the_place_and_figures_of_rows_are_told(shown: Preview, rows: Path) -> None:
    told = answer(shown, chosen(rows), rows=4)
    assert [(row.source, row.file, row.line) for row in told.rows] == [
        (rows.name, str(rows), n) for n in (1, 2, 3, 4)
    ]
    (source,) = told.sources
    assert (source.format, source.quota, source.num_taken) == ("messages", 4, 4)
    assert source.truncated_share == 0.5
    assert sum(count for _, count in source.histogram) == 4
    longest = max(row.whole_tokens for row in told.rows)
    assert source.histogram[-1][0] >= source.tokens.max == longest > 90
    supervised = sum(row.supervised for row in told.rows)
    tokens = sum(len(row.input_ids) for row in told.rows)
    assert source.supervised_share == pytest.approx(supervised / tokens, abs=1e-4)


def test_a_changed_recipe_is_answered_by_the_same_warm_engine(shown: Preview, rows: Path) -> None:
    answer(shown, chosen(rows))
    warm = shown._engine.pid
    for length in (40, 41, 42):
        told = answer(shown, chosen(rows, max_length=length))
        assert shown._engine.pid == warm
        assert max(len(row.input_ids) for row in told.rows) == length


def test_only_the_last_of_several_questions_is_answered(shown: Preview, rows: Path) -> None:
    for length in range(20, 30):
        last = shown.ask(chosen(rows, max_length=length))
    reply = waited(shown)
    assert (reply.number, isinstance(reply, Answer) and reply.max_length) == (last, 29)
    assert shown.poll() is None
    assert not shown.is_waiting


def test_rows_are_spread_over_sources_or_read_in_a_line(shown: Preview, tmp_path: Path) -> None:
    sources = []
    for name, count in (("a", 20), ("b", 2), ("c", 9)):
        lines = [json.dumps({"question": f"{name} {n}?", "answer": "x"}) for n in range(count)]
        (tmp_path / f"{name}.jsonl").write_text("\n".join(lines))
        sources.append({"path": str(tmp_path / f"{name}.jsonl"), "name": name, "weight": 2.0})
    choice = Recipe(data=Data.model_validate({"sources": sources}))

    def places(**which: Any) -> list[tuple[str, int]]:
        return [(row.source, row.line) for row in answer(shown, choice, **which).rows]

    assert places() == [("a", 1), ("b", 1), ("c", 1)]
    assert places(rows=8) == [
        ("a", 1), ("a", 11), ("a", 20), ("b", 1), ("b", 2), ("c", 1), ("c", 5), ("c", 9),
    ]  # fmt: skip
    assert places(rows=2, source="c") == [("c", 1), ("c", 9)]
    assert places(rows=99, source="b") == [("b", 1), ("b", 2)]
    assert places(rows=3, first=19) == [("a", 20), ("b", 1), ("b", 2)]
    assert places(rows=3, first=99) == []


def test_a_mistake_is_told_and_the_next_question_answered(shown: Preview, tmp_path: Path) -> None:
    (tmp_path / "bad.jsonl").write_text('{"question": "a", "answer": ""}\n')
    (tmp_path / "good.jsonl").write_text('{"question": "a", "answer": "b"}\n')
    shown.ask(chosen(tmp_path / "bad.jsonl"))
    reply = waited(shown)
    assert isinstance(reply, Refused)
    assert "1 x an empty answer" in str(reply.refusal())
    shown.ask(chosen(tmp_path / "good.jsonl"), source="nobody")
    assert "Its sources: good.jsonl" in str(waited(shown).refusal())  # type: ignore[union-attr]
    assert answer(shown, chosen(tmp_path / "good.jsonl")).sources[0].num_taken == 1


def test_replies_and_questions_survive_their_files(shown: Preview, rows: Path) -> None:
    told = answer(shown, chosen(rows))
    assert wire.read(json.loads(wire.line(told)), Reply) == told
    question = Question(3, chosen(rows), 5, "\x1b[2J", 2)
    assert decode_question(wire.line(question)) == question
    for line in (b"", b"{", b"[]", b'{"want": "preview"}', b'{"want": "stop"}', b"\xff"):
        assert decode_question(line) is None


@pytest.fixture
def alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A folder for temporary files of its own."""
    folder = tmp_path / "tmp"
    folder.mkdir()
    monkeypatch.setenv("TMPDIR", str(folder))
    monkeypatch.setattr("tempfile.tempdir", str(folder))
    return folder


def test_closed_it_leaves_nothing_whenever_that_is(alone: Path, rows: Path) -> None:
    early = engine_session.start_preview()
    pid = early._engine.pid
    early.close()
    asked = engine_session.start_preview()
    asked.ask(chosen(rows))
    waited(asked)
    asked.close()
    assert list(alone.iterdir()) == []
    for gone in (pid, asked._engine.pid):
        with pytest.raises(ProcessLookupError):
            os.kill(gone, 0)


def test_an_engine_that_dies_is_told_and_its_log_kept(alone: Path, rows: Path) -> None:
    asked = engine_session.start_preview()
    asked.ask(chosen(rows))
    os.kill(asked._engine.pid, signal.SIGKILL)
    reply = waited(asked)
    assert isinstance(reply, Broken)
    assert "signal 9" in reply.error
    asked.close()
    assert Path(reply.log).exists()


def test_it_ends_when_its_viewer_is_killed(alone: Path, tmp_path: Path, rows: Path) -> None:
    file = tmp_path / "r.toml"
    file.write_text('[data]\nsources = [{ path = "rows.jsonl" }]\n')
    viewer = subprocess.Popen(
        [sys.executable, "-c", VIEWER, str(file)], stdout=subprocess.PIPE, text=True
    )
    assert viewer.stdout
    path, pid = viewer.stdout.readline().split()
    assert Path(path).parent == alone
    os.kill(int(pid), 0)
    viewer.kill()
    viewer.wait()
    command.wait(lambda: not Path(path).exists(), 10)
    command.wait(lambda: not is_alive(int(pid)), 10)


def is_alive(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    state = Path(f"/proc/{pid}/stat")
    return not state.exists() or state.read_text().rpartition(")")[2].split()[0] != "Z"


def test_a_reply_that_comes_while_it_is_looked_for_is_not_lost(tmp_path: Path) -> None:
    """One in some hundreds was on a busy machine, and its preview waited for ever."""
    session = SessionDir(tmp_path)
    unwritten = [{"number": 1}]

    def write(event: str, arguments: tuple[Any, ...]) -> None:
        if event == "os.remove" and unwritten and str(arguments[0]) == str(session.reply(1)):
            session.write_reply(1, unwritten.pop())

    sys.addaudithook(write)
    assert session.take_reply(1) is None
    while unwritten:
        session.write_reply(1, unwritten.pop())
    assert session.take_reply(1) == {"number": 1}
    assert session.take_reply(1) is None
