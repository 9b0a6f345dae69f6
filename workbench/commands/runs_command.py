"""`gemma-bench runs`: the runs below runs/, newest first, with the state that their files tell."""

from argparse import ArgumentParser, Namespace

from engine.problems import ExitCode
from engine.run import run_summary, runs
from engine.run.rundir import RunDir, State
from workbench.commands import options
from workbench.text.sanitize import as_json, sanitize_line

EXAMPLES = """\
  gemma-bench runs                           what became of them
  gemma-bench runs --json | jq -r 'select(.state == "failed").path'"""


def add_arguments(parser: ArgumentParser) -> None:
    """Lines for people, or JSON."""
    options.add_json(parser, "one JSON object per run")


def run(arguments: Namespace) -> int:
    """Print them."""
    states = [(listed, run_summary.summarize(listed).state) for listed in runs.every()]
    if arguments.json:
        for listed, state in states:
            print(as_json(_record(listed, state)))
        return ExitCode.DONE
    if not states:
        print("no run here yet; start one: gemma-bench --run quickstart")
    named = [(sanitize_line(listed.name), state) for listed, state in states]
    width = max((len(name) for name, _ in named), default=0)
    for name, state in named:
        print(f"{name:<{width}}  {state.name:<8}  {sanitize_line(state.cause)}".rstrip())
    return ExitCode.DONE


def _record(run: RunDir, state: State) -> dict[str, str]:
    path = str(run.path.resolve())
    return {"run": run.name, "path": path, "state": state.name, "cause": state.cause}
