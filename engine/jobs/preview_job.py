"""The engine's job behind a preview: answers one question after the other, as long as it is asked.

It ends when it is asked to, and when its viewer is gone; libraries and tokenizers stay loaded
between answers.
"""

import json
import sys
import time
import traceback
from typing import Any

from engine import events, user_dirs
from engine.data.encoding.template import choose, difference
from engine.data.encoding.tokenizer import tokenizer_and_config
from engine.data.images.image_tokenizer import ImageTokenizer, sight
from engine.data.prepare import prepare
from engine.data.preview_rows import excerpt, sample
from engine.gemma.config import dialect_of
from engine.gemma.gguf import model as gguf_model
from engine.gemma.shapes import Dialect
from engine.problems import Refusal
from engine.recipe.schema import Model
from engine.run import wire
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir, Want
from engine.sessions import serve
from engine.sessions.preview import Answer, Broken, Question, Refused, Reply, decode_question
from engine.sessions.session_dir import SessionDir


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Answer until nobody asks any more."""
    serve.serve(run, control, lambda session: PreviewServer(session, log))


class PreviewServer:
    """Answers the newest question; keeps tokenizers at hand."""

    def __init__(self, session: SessionDir, log: EventLog) -> None:
        self._session, self._log = session, log
        self._question: Question | None = None
        self._has_told_of_cache = False
        self._tokenizers: dict[
            tuple[str, str | None], tuple[Any, Dialect, ImageTokenizer | None]
        ] = {}

    def hear(self, line: bytes) -> bool:
        """Take a question; a viewer that asks anew no longer waits for what it asked before."""
        self._question = decode_question(line) or self._question
        return not _is_stop(line)

    def go_on(self) -> bool:
        """Answer the question, where there is one."""
        question, self._question = self._question, None
        if question is not None:
            self._session.write_reply(question.number, wire.plain(self._reply(question)))
        return question is not None

    def _reply(self, question: Question) -> Reply:
        try:
            return self.answer(question)
        except Refusal as refusal:
            problems = tuple(refusal.problems)
            return Refused(question.number, refusal.where, problems, refusal.exit_code)
        except Exception as error:
            traceback.print_exc()
            log = str(self._session.log)
            return Broken(question.number, f"{type(error).__name__}: {error}", log)

    def answer(self, question: Question) -> Answer:
        """The answer to a question. Raises `Refusal`."""
        began = time.monotonic()
        data = question.recipe.data
        tokenizer, dialect, images = self._tokenizer(question.recipe.model)
        template = choose(data.template, tokenizer, dialect)
        self._log.append(events.Phase(name="data", detail=", ".join(s.label for s in data.sources)))
        cache = user_dirs.cache()
        prepared = prepare(data, tokenizer, template, cache, sight=images, tell=self._tell)
        if prepared.why_not_cached and not self._has_told_of_cache:
            self._has_told_of_cache = True
            print(f"rows are not kept: {prepared.why_not_cached}", file=sys.stderr)
        preview = excerpt(tokenizer, template, images)
        return Answer(
            number=question.number,
            sources=prepared.sources,
            rows=tuple(preview.row(prepared, index) for index in sample(prepared, question)),
            max_length=data.max_length,
            weights=gguf_model.loss_of(question.recipe.model.path),
            heldout=prepared.heldout_report,
            template_sha256=template.sha256,
            template_difference=difference(tokenizer, template),
            elapsed_s=round(time.monotonic() - began, 3),
        )

    def _tell(self, detail: str) -> None:
        self._log.append(events.Phase(name="data", detail=detail))

    def _tokenizer(self, model: Model) -> tuple[Any, Dialect, ImageTokenizer | None]:
        key = model.path, model.revision
        if key not in self._tokenizers:
            self._log.append(events.Phase(name="loading", detail=model.path))
            tokenizer, config = tokenizer_and_config(model)
            try:
                dialect = dialect_of(config.to_dict())
            except ValueError as error:
                fix = "Choose a Gemma 3 or Gemma 4"
                raise Refusal.of(model.path, str(error), fix, key="model.path") from None
            self._tokenizers[key] = tokenizer, dialect, sight(model, config, tokenizer)
        return self._tokenizers[key]


def _is_stop(line: bytes) -> bool:
    try:
        return bool(json.loads(line)["want"] == Want.STOP)
    except (ValueError, KeyError, TypeError, RecursionError):
        return False
