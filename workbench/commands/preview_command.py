"""`gemma-bench preview`: one answer of a preview's engine, as a page of text or as JSON."""

import argparse
import json
import os
import shutil
import sys
import time

from engine.hardware import profiles
from engine.recipe import validate
from engine.sessions.preview import Answer, Broken, Refused, Reply, check_source, published
from workbench.sessions import preview_session
from workbench.sessions.preview_session import Preview
from workbench.text.preview_page import page
from workbench.text.sanitize import clean_line
from workbench.text.token_marks import TextStyle

_POLL_S = 0.02


def run(options: argparse.Namespace) -> int:
    """Print what was asked for; exit code. Raises `Refusal`."""
    recipe, _ = validate.load(options.recipe, options.overrides)
    check_source(recipe, options.source)
    if options.hardware:
        profiles.profile(options.hardware)
    asked = preview_session.start()
    try:
        asked.ask(recipe, rows=options.rows, source=options.source)
        reply = _waited_for(asked)
    except KeyboardInterrupt:
        print("gemma-bench: interrupted", file=sys.stderr)
        return 130
    finally:
        asked.close()
    if isinstance(reply, Refused):
        raise reply.refusal()
    if isinstance(reply, Broken):
        told = f"preview failed: {clean_line(reply.error, 500)}; log: {clean_line(reply.log)}"
        print(f"gemma-bench: {told}", file=sys.stderr)
        return 1
    return _print(_json(reply) if options.json else page(reply, _columns(), _ink()))


def _waited_for(asked: Preview) -> Reply:
    """The reply; until it comes, what the engine is at stands on the terminal."""
    is_watched = sys.stderr.isatty()
    shown = ""
    while (reply := asked.poll()) is None:
        if is_watched and asked.phase != shown:
            shown = asked.phase
            text = clean_line(shown)[: _columns() - 1]
            print(f"\r\x1b[2K{text}", end="", file=sys.stderr, flush=True)
        time.sleep(_POLL_S)
    if shown:
        print("\r\x1b[2K", end="", file=sys.stderr, flush=True)
    return reply


def _json(answer: Answer) -> str:
    """In ASCII, so that nothing in a row can steer the terminal it is printed on."""
    return json.dumps(published(answer), ensure_ascii=True)


def _print(text: str) -> int:
    try:
        print(text, flush=True)
    except BrokenPipeError:
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
    return 0


def _columns() -> int:
    return shutil.get_terminal_size().columns


def _ink() -> TextStyle:
    is_plain = "NO_COLOR" in os.environ or os.environ.get("TERM") == "dumb"
    encoding = (sys.stdout.encoding or "").lower().replace("-", "")
    return TextStyle(sys.stdout.isatty() and not is_plain, encoding == "utf8")
