"""Steps simulated in processes of their own: python -m tests.simulate_steps STEPS ANSWERS."""

import dataclasses
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

from engine.budget.step_shape import StepShape

ROOT = Path(__file__).parents[1]
RECORDED = ROOT / "tests" / "data" / "simulated_steps.json"
"""Steps with what they needed when they were simulated; `python -m tests.simulate_steps` does it
anew."""
PROCESSES = 2
STAYING = {
    "weights", "quantisation state", "embeddings", "per-layer embeddings", "experts", "towers",
    "LoRA", "gradients", "optimizer", "cuBLAS workspaces",
}  # fmt: skip
"""Parts that a step finds and leaves; all others come and go within it."""
_DEFAULTS = {field.name: field.default for field in dataclasses.fields(StepShape)}


def as_record(step: StepShape) -> dict[str, Any]:
    """What is not as usual of a step."""
    return {name: value for name, value in step.as_dict().items() if value != _DEFAULTS[name]}


def from_record(record: dict[str, Any]) -> StepShape:
    """A step from plain data."""
    modules = record.get("target_modules", _DEFAULTS["target_modules"])
    modules = modules if isinstance(modules, str) else tuple(modules)
    return StepShape(**{**record, "target_modules": modules})


def simulated(steps: list[StepShape]) -> list[dict[str, Any]]:
    """Each step's figures, simulated at whole speed on two processes."""
    with tempfile.TemporaryDirectory() as folder:
        running = []
        for number in range(PROCESSES):
            share = Path(folder) / f"steps-{number}.json"
            share.write_text(json.dumps([as_record(step) for step in steps[number::PROCESSES]]))
            answers = share.with_name(f"answers-{number}.json")
            command = [sys.executable, "-m", "tests.simulate_steps", str(share), str(answers)]
            one_thread = {**os.environ, "OMP_NUM_THREADS": "1"}
            running.append((subprocess.Popen(command, cwd=ROOT, env=one_thread), answers))
        assert [process.wait() for process, _ in running] == [0] * PROCESSES
        parts = [json.loads(answers.read_text()) for _, answers in running]
    return [parts[index % PROCESSES][index // PROCESSES] for index in range(len(steps))]


def simulate(record: dict[str, Any]) -> dict[str, Any]:
    """One step's figures, in this process."""
    from tools.simulator.configuration import configuration, source
    from tools.simulator.report import answer

    step = from_record(record)
    found = answer(configuration(source(step.model)), step)
    passing = sum(row["gib"] for row in found.rows if row["part"] not in STAYING)
    return {
        "step": record,
        "allocated_gib": found.allocated_gib,
        "reserved_gib": found.reserved_gib,
        "passing_gib": round(passing, 4),
        "peak_moment": found.peak_moment,
    }


def main(arguments: list[str]) -> None:
    if arguments:
        steps, answers = map(Path, arguments)
        answers.write_text(json.dumps([simulate(step) for step in json.loads(steps.read_text())]))
        return
    steps = [from_record(known["step"]) for known in json.loads(RECORDED.read_text())]
    lines = ",\n".join(f" {json.dumps(answer)}" for answer in simulated(steps))
    RECORDED.write_text(f"[\n{lines}\n]\n")


if __name__ == "__main__":
    main(sys.argv[1:])
