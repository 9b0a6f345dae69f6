"""`gemma-bench preview`: one answer of a preview's engine, as a page of text or as JSON."""

import json
import os
import shutil
import sys
import time
from argparse import ArgumentParser, Namespace

from engine.hardware import profiles
from engine.problems import ExitCode
from engine.recipe import validate
from engine.sessions.preview import Broken, Refused, Reply, check_source, published
from workbench.commands import options, recipe_options, terms_command
from workbench.commands.status_line import StatusLine
from workbench.sessions import engine_session
from workbench.sessions.engine_session import Preview
from workbench.text.harmless_output import say_painted
from workbench.text.preview_page import page
from workbench.text.sanitize import sanitize_line
from workbench.text.terminal import is_dumb, prints_utf8
from workbench.text.token_marks import TextStyle

_POLL_S = 0.02


EXAMPLES = """\
  gemma-bench preview quickstart             a row of each source, token by token
  gemma-bench preview quickstart --rows 5
  gemma-bench preview rows.jsonl             how rows of your own are read"""


def add_arguments(parser: ArgumentParser) -> None:
    """A recipe, and which of its rows."""
    recipe_options.add_recipe(parser)
    options.add_hardware(parser)
    parser.add_argument(
        "--rows",
        metavar="N",
        type=options.count,
        default=0,
        help="how many (default: one a source)",
    )
    parser.add_argument("--source", metavar="NAME", default="", help="rows of this source only")
    options.add_json(parser, "sources, rows and template as one JSON object")


def run(arguments: Namespace) -> int:
    """Print the rows; an exit code. Raises `Refusal`."""
    named = recipe_options.named(arguments)
    terms_command.ask_where_needed(named)
    recipe, _ = validate.load(named.name, named.overrides)
    check_source(recipe, arguments.source)
    if arguments.hardware:
        profiles.profile(arguments.hardware)
    preview = engine_session.start_preview()
    try:
        preview.ask(recipe, rows=arguments.rows, source=arguments.source)
        reply = _reply(preview)
    finally:
        preview.close()
    if isinstance(reply, Refused):
        raise reply.refusal()
    if isinstance(reply, Broken):
        error = (
            f"preview failed: {sanitize_line(reply.error, 500)}; log: {sanitize_line(reply.log)}"
        )
        print(f"gemma-bench: {error}", file=sys.stderr)
        return ExitCode.FAILED
    columns = shutil.get_terminal_size().columns
    # In ASCII, so that nothing in a row can steer the terminal it is printed on.
    as_json = json.dumps(published(reply), ensure_ascii=True) if arguments.json else ""
    say_painted(as_json or page(reply, columns, _text_style()))
    return ExitCode.DONE


def _reply(preview: Preview) -> Reply:
    """Wait for it; meanwhile what the engine does stands on the terminal."""
    status = StatusLine()
    while (reply := preview.poll()) is None:
        status.show(preview.phase)
        time.sleep(_POLL_S)
    status.show("")
    return reply


def _text_style() -> TextStyle:
    is_plain = "NO_COLOR" in os.environ or is_dumb()
    return TextStyle(sys.stdout.isatty() and not is_plain, prints_utf8())
