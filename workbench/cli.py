"""The command line: the app, a headless run, and what attaches to runs."""

import argparse
import io
import sys
from pathlib import Path
from typing import Any

from engine.problems import Refusal
from workbench.text.sanitize import clean

_EXIT_CODES = (
    "exit codes: 0 done, 1 failed, 2 bad input, 3 already running, 4 doesn't fit, "
    "130 and 143 stopped"
)


def main(arguments: list[str] | None = None) -> int:
    """Run a command; its exit code. What is refused is told in one message, without a traceback."""
    options = _parsed(arguments)
    if isinstance(sys.stdout, io.TextIOWrapper):
        sys.stdout.reconfigure(errors="backslashreplace")
    try:
        return _dispatch(options)
    except Refusal as refusal:
        print(f"gemma-bench: {clean(refusal)}", file=sys.stderr)
        return refusal.exit_code
    except KeyboardInterrupt:
        told = "gemma-bench: interrupted; a run that was started goes on: gemma-bench runs"
        print(told, file=sys.stderr)
        return 130


_OPTIONS = {"run", "hardware", "overrides", "out", "json", "detach", "anyway"}
_TAKEN: dict[str | None, set[str]] = {
    "preview": {"hardware", "overrides", "json"},
    "budget": {"hardware", "overrides", "json"},
    "doctor": {"json"},
    "attach": {"json"},
    "runs": {"json"},
    "resume": {"detach", "json", "overrides", "out", "anyway"},
    "stop": set(),
}
"""Which of the options above a command takes; no command but --run takes them all."""


def _parsed(arguments: list[str] | None) -> argparse.Namespace:
    """The options; one that the command would not heed is an error, not silence."""
    parser = _parser()
    options = parser.parse_args(arguments)
    taken = _TAKEN.get(options.command, _OPTIONS if options.run is not None else set())
    for name in sorted(_OPTIONS - taken):
        if getattr(options, name) not in (None, False, []):
            flag = "--set" if name == "overrides" else f"--{name}"
            place = f"by {options.command}" if options.command else "without --run RECIPE"
            parser.error(f"{flag} is not taken {place}")
    if options.command == "resume" and not options.branch:
        for name in ("overrides", "out", "anyway"):
            if getattr(options, name):
                parser.error("--set, --out and --anyway are taken by resume with --branch only")
    return options


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser(
        prog="gemma-bench",
        description="Fine-tune Google Gemma on your own hardware. Without options: the app.",
        epilog=_EXIT_CODES,
    )
    parser.add_argument("--run", metavar="RECIPE", help="start a run: a recipe's name or path")
    _add_choices(parser)
    parser.set_defaults(hardware=None, overrides=[])
    parser.add_argument("--out", metavar="DIR", type=Path, help="the run directory to make")
    parser.add_argument("--json", action="store_true", help="events as JSON lines on stdout")
    parser.add_argument("--detach", action="store_true", help="start the run and leave it")
    parser.add_argument("--anyway", action="store_true", help="start it though it can't fit")
    commands = parser.add_subparsers(dest="command", metavar="COMMAND")
    preview = commands.add_parser("preview", help="show the rows as they will be trained on")
    preview.add_argument("recipe", metavar="RECIPE", help="a recipe's name or path")
    _add_choices(preview)
    preview.add_argument(
        "--rows", metavar="N", type=_count, default=0, help="how many (default: one a source)"
    )
    preview.add_argument("--source", metavar="NAME", default="", help="rows of this source only")
    _add_json(preview, "sources, rows and template as one JSON object")
    budget = commands.add_parser("budget", help="what a recipe needs: memory, time, and what saves")
    budget.add_argument(
        "recipe", metavar="RECIPE", help="a recipe's name or path; all: each that comes along"
    )
    _add_choices(budget)
    budget.add_argument(
        "--variants", action="store_true", help="with several cards: every Gemma in its place"
    )
    budget.add_argument(
        "--price", metavar="N", type=float, help="of an hour, for the cost of a run"
    )
    _add_json(budget, "one JSON object")
    doctor = commands.add_parser("doctor", help="prove that the installed packages train right")
    doctor.add_argument("--fast", action="store_true", help="only those that a run begins with")
    _add_json(doctor, "versions and checks as one JSON object")
    attach = commands.add_parser("attach", help="follow a run (default: the newest)")
    attach.add_argument("run_name", metavar="RUN", nargs="?")
    _add_json(attach, "events as JSON lines on stdout")
    _add_resume(commands)
    runs = commands.add_parser("runs", help="list runs and their states")
    _add_json(runs, "one JSON object per run")
    stop = commands.add_parser("stop", help="ask a run to stop and save")
    stop.add_argument("run_name", metavar="RUN")
    return parser


def _add_resume(commands: Any) -> None:
    resume = commands.add_parser("resume", help="go on with a run that ended early")
    resume.add_argument("run_name", metavar="RUN")
    resume.add_argument(
        "--detach",
        action="store_true",
        default=argparse.SUPPRESS,
        help="let it go on, and leave it",
    )
    resume.add_argument(
        "--branch", action="store_true", help="as another run, with what --set changes"
    )
    _add_set(resume)
    resume.add_argument(
        "--out", metavar="DIR", type=Path, default=argparse.SUPPRESS, help="where that run is made"
    )
    resume.add_argument(
        "--anyway",
        action="store_true",
        default=argparse.SUPPRESS,
        help="start it though it can't fit",
    )
    _add_json(resume, "events as JSON lines on stdout")


def _add_choices(command: argparse.ArgumentParser) -> None:
    """What a recipe is used with; left out, it does not undo what a command's parent was given."""
    command.add_argument(
        "--hardware",
        metavar="NAME",
        default=argparse.SUPPRESS,
        help="hardware profile (default: auto, this machine); budget takes a list, or all",
    )
    _add_set(command)


def _add_set(command: argparse.ArgumentParser) -> None:
    command.add_argument(
        "--set",
        metavar="KEY=VALUE",
        action="append",
        default=argparse.SUPPRESS,
        dest="overrides",
        help="change a recipe key: training.learning_rate=2e-4",
    )


def _count(text: str) -> int:
    if not text.isascii() or not text.isdigit() or not int(text):
        raise argparse.ArgumentTypeError(f"{text!r} is no count above 0")
    return int(text)


def _add_json(command: argparse.ArgumentParser, help_text: str) -> None:
    """--json of a command: left out, it does not undo one given before the command's name."""
    command.add_argument("--json", action="store_true", default=argparse.SUPPRESS, help=help_text)


def _dispatch(options: argparse.Namespace) -> int:
    if options.command == "preview":
        from workbench.commands import preview_command

        return preview_command.run(options)
    if options.command == "budget":
        from workbench.commands import budget_command

        return budget_command.run(options)
    if options.command == "doctor":
        from workbench.commands import doctor_command

        return doctor_command.run(options)
    if options.command == "attach":
        return _attach(options)
    if options.command == "runs":
        from workbench.commands import runs_command

        return runs_command.print_runs(as_json=options.json)
    if options.command == "resume":
        return _resume(options)
    if options.command == "stop":
        return _stop(options.run_name)
    if options.run is not None:
        return _run(options)
    from workbench.app import run_app

    return run_app()


def _run(options: argparse.Namespace) -> int:
    from engine.hardware.profiles import AUTO
    from workbench import launch
    from workbench.commands import doctor_command, follow

    judged = launch.judge(
        options.run, options.overrides, options.hardware or AUTO, options.out, anyway=options.anyway
    )
    doctor_command.before_run()
    run = judged.make()
    launch.start(run)
    if options.detach:
        print(run.path)
        return 0
    return follow.follow(run, as_json=options.json)


def _attach(options: argparse.Namespace) -> int:
    from engine.run import runs
    from workbench.commands import follow

    run = runs.find(options.run_name)
    if options.json or not sys.stdout.isatty():
        return follow.follow(run, as_json=options.json)
    from workbench.run_view.background_reader import Ahead

    ahead = Ahead(run)
    from workbench.app import run_app

    return run_app(run, ahead)


def _resume(options: argparse.Namespace) -> int:
    from engine.run import runs
    from workbench import launch
    from workbench.commands import follow

    run, known_bytes = runs.find(options.run_name), 0
    if options.branch:
        from workbench.commands.branch import branch

        run = branch(run, options.overrides, options.out, anyway=options.anyway)
        launch.start(run, "resume")
    else:
        known_bytes = launch.resume(run)
    if options.detach:
        print(run.path)
        return 0
    return follow.follow(run, as_json=options.json, known_bytes=known_bytes)


def _stop(name: str) -> int:
    from engine.problems import Refusal
    from engine.run import runs

    run = runs.find(name)
    if not run.is_alive():
        state = run.state()
        raise Refusal.of(run.name, f"it is not running but {state.name}", "Nothing is left to stop")
    run.ask("stop", "gemma-bench stop")
    print(f"{run.name} was asked to stop and save; gemma-bench attach {run.name} shows it end")
    return 0


if __name__ == "__main__":
    sys.exit(main())
