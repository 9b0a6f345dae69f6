"""The command line: names a command, and tells what is refused in one message."""

import argparse
import os
import sys
from collections.abc import Callable

from engine.problems import ExitCode, Refusal
from workbench.commands import options, unknown_word
from workbench.commands.registry import COMMANDS, SYNONYMS, module
from workbench.text.harmless_output import harmless_output

_EXIT_CODES = """exit codes: 0 done, 1 failed, 2 bad input, 3 already running, 4 doesn't fit,
  130 and 143 stopped"""
_EXAMPLES = """examples:
  gemma-bench                                open the app
  gemma-bench --data rows.jsonl              the same, to train on rows of your own
  gemma-bench run quickstart                 fine-tune the small Gemma that comes along
  gemma-bench recipes                        what else can be trained"""


def main(arguments: list[str] | None = None) -> int:
    """Run a command, or the app; its exit code."""
    if "_ARGCOMPLETE" in os.environ:
        from workbench import completion

        completion.complete()
    command, rest = _command(sys.argv[1:] if arguments is None else arguments)
    with harmless_output():
        parsed = _parsed(command, rest)
        return exit_code_of(lambda: (module(command).run if command else _run_app)(parsed))


def exit_code_of(call: Callable[[], int]) -> int:
    """Call it; what is refused or interrupted is told in one message, without a traceback."""
    try:
        exit_code = call()
        sys.stdout.flush()
    except Refusal as refusal:
        print(f"gemma-bench: {refusal}", file=sys.stderr)
        return refusal.exit_code
    except KeyboardInterrupt:
        message = "interrupted; a run that was started goes on: gemma-bench runs"
        print(f"gemma-bench: {message}", file=sys.stderr)
        return ExitCode.INTERRUPTED
    except BrokenPipeError:
        # Its reader has gone, and the interpreter must not fail to flush as it ends.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return ExitCode.DONE
    return exit_code


def _run_app(arguments: argparse.Namespace) -> int:
    """Show it, on rows that are named.

    Raises `Refusal` where there is no terminal, as under cron or behind a pipe.
    """
    from workbench.text.terminal import why_no_screen

    if reason := why_no_screen():
        fix = "Give it one, as ssh -t HOST gemma-bench does, or do without: gemma-bench run RECIPE"
        raise Refusal.of("the app needs a terminal", reason, fix)
    from workbench.app import run_app

    return run_app(sources=arguments.data)


def _command(arguments: list[str]) -> tuple[str, list[str]]:
    """The command that is named, and the rest; empty without one.

    `--run RECIPE` is `run RECIPE`, wherever it stands. Options may stand before the command.
    """
    flags = [argument.partition("=")[0] for argument in arguments]
    if "--run" in flags and flags[0] not in COMMANDS:
        index = flags.index("--run")
        _, is_joined, recipe = arguments[index].partition("=")
        recipes = [recipe] if is_joined else []
        return "run", [*arguments[:index], *recipes, *arguments[index + 1 :]]
    for index, argument in enumerate(arguments):
        command = SYNONYMS.get(argument, argument)
        if command in COMMANDS:
            return command, [*arguments[:index], *arguments[index + 1 :]]
    return "", arguments


def _parsed(command: str, arguments: list[str]) -> argparse.Namespace:
    """The options of a command; without one, of the app."""
    if command:
        return command_parser(command).parse_args(arguments)
    parser = _app_parser()
    if arguments and not arguments[0].startswith("-"):
        parser.error(unknown_word.message(arguments[0]))
    flag = arguments[0].partition("=")[0] if arguments else ""
    if flag and flag not in {"-h", "--help", "--version", "--data"}:
        parser.error(f"{flag} is not taken without a command, as in: gemma-bench run RECIPE")
    return parser.parse_args(arguments)


def command_parser(command: str) -> argparse.ArgumentParser:
    """What a command takes, with examples of it."""
    help, code = COMMANDS[command], module(command)
    parser = argparse.ArgumentParser(
        prog=f"gemma-bench {command}",
        description=f"{help[0].upper()}{help[1:]}.",
        epilog=f"examples:\n{code.EXAMPLES}\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    code.add_arguments(parser)
    return parser


class _Version(argparse.Action):
    """Looks it up where it is asked for only, which takes a moment."""

    def __call__(self, parser: argparse.ArgumentParser, *_: object) -> None:
        from engine import installed

        print(f"{installed.PROJECT} {installed.version(installed.PROJECT)}")
        parser.exit()


def _app_parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gemma-bench",
        description="Fine-tune Google Gemma on your own hardware. Without a command: the app.",
        epilog=f"{_EXAMPLES}\n\n{_EXIT_CODES}",
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--version", action=_Version, nargs=0, help="print the version")
    parser.add_argument(
        "--run", metavar="RECIPE", help="the same as the command run, with all its options"
    )
    options.add_data(parser)
    commands = parser.add_subparsers(metavar="COMMAND", title="commands, each with its own --help")
    for name, help in COMMANDS.items():
        commands.add_parser(name, help=help)
    return parser


if __name__ == "__main__":
    sys.exit(main())
