"""The list of runs on a plain terminal."""

import json

from engine.run import runs
from workbench.text.sanitize import clean_line


def print_runs(*, as_json: bool) -> int:
    """Print every run below runs/, newest first, with the state its files tell; exit code 0."""
    states = [(run, run.state()) for run in runs.every()]
    if as_json:
        for run, state in states:
            line = {
                "run": run.name,
                "path": str(run.path.resolve()),
                "state": state.name,
                "cause": state.cause,
            }
            print(json.dumps(line, ensure_ascii=False))
        return 0
    if not states:
        print("no run here yet; start one: gemma-bench --run quickstart")
    named = [(clean_line(run.name), state) for run, state in states]
    width = max((len(name) for name, _ in named), default=0)
    for name, state in named:
        print(f"{name:<{width}}  {state.name:<8}  {clean_line(state.cause)}".rstrip())
    return 0
