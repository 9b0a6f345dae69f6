"""The engine's job behind a preview: answers one question after the other, as long as it is asked.

It ends when it is asked to, and when its viewer is gone; libraries and tokenizers stay loaded
between answers.
"""

import json
import os
import time
import traceback
from typing import Any

from engine import events, user_dirs
from engine.data.image_tokenizer import ImageTokenizer, sight
from engine.data.prepare import prepare
from engine.data.preview_rows import excerpt, sample
from engine.data.template import choose, difference
from engine.data.tokenizer import tokenizer_and_config
from engine.gemma.config import dialect_of
from engine.gemma.shapes import Dialect
from engine.problems import Refusal
from engine.recipe.schema import Model
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions.end_with_viewer import end_with_viewer
from engine.sessions.preview import (
    Answer,
    Broken,
    Question,
    Refused,
    Reply,
    as_record,
    decode_question,
)
from engine.sessions.session_dir import PreviewDir, sweep

_POLL_S = 0.02


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Answer until nobody asks any more."""
    preview = PreviewDir(run.path)
    end_with_viewer(preview)
    try:
        if not control.stopped_by:
            sweep(preview)
            _answer_all(preview, log)
    except SystemExit:
        pass
    finally:
        if not preview.has_viewer():
            preview.remove()
    # The libraries take a second to be taken down, for which a viewer that closes would wait.
    os._exit(0)


def _answer_all(preview: PreviewDir, log: EventLog) -> None:
    desk, tail = Desk(log), preview.wishes()
    while True:
        lines = tail.read_new()
        if any(map(_is_stop, lines)):
            return
        asked = [question for question in map(decode_question, lines) if question]
        if asked:
            # A viewer that asks anew no longer waits for what it asked before.
            preview.write_reply(asked[-1].number, as_record(_reply(desk, asked[-1], preview)))
        else:
            time.sleep(_POLL_S)


def _is_stop(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["want"] == "stop")
    except (ValueError, KeyError, TypeError, RecursionError):
        return False


def _reply(desk: "Desk", question: Question, preview: PreviewDir) -> Reply:
    try:
        return desk.answer(question)
    except Refusal as refusal:
        problems = tuple(refusal.problems)
        return Refused(question.number, refusal.where, problems, refusal.exit_code)
    except Exception as error:
        traceback.print_exc()
        return Broken(question.number, f"{type(error).__name__}: {error}", str(preview.log))


class Desk:
    """Where questions are answered; keeps tokenizers at hand."""

    def __init__(self, log: EventLog) -> None:
        self._log = log
        self._known: dict[tuple[str, str | None], tuple[Any, Dialect, ImageTokenizer | None]] = {}

    def answer(self, question: Question) -> Answer:
        """The answer to a question. Raises `Refusal`."""
        began = time.monotonic()
        data = question.recipe.data
        tokenizer, dialect, seen = self._tokenizer(question.recipe.model)
        chosen = choose(data.template, tokenizer, dialect)
        self._log.append(events.Phase(name="data", detail=", ".join(s.label for s in data.sources)))
        prepared = prepare(data, tokenizer, chosen, user_dirs.cache(), sight=seen)
        shown = excerpt(tokenizer, chosen, seen)
        return Answer(
            number=question.number,
            sources=prepared.sources,
            rows=tuple(shown.row(prepared, index) for index in sample(prepared, question)),
            max_length=data.max_length,
            template_sha256=chosen.sha256,
            template_difference=difference(tokenizer, chosen),
            elapsed_s=round(time.monotonic() - began, 3),
        )

    def _tokenizer(self, model: Model) -> tuple[Any, Dialect, ImageTokenizer | None]:
        known = model.path, model.revision
        if known not in self._known:
            self._log.append(events.Phase(name="loading", detail=model.path))
            tokenizer, config = tokenizer_and_config(model)
            try:
                dialect = dialect_of(config.to_dict())
            except ValueError as error:
                fix = "Choose a Gemma 3 or Gemma 4"
                raise Refusal.of(model.path, str(error), fix, key="model.path") from None
            self._known[known] = tokenizer, dialect, sight(model, config, tokenizer)
        return self._known[known]
