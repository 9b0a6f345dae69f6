"""Simulates the steps of a file of cases: python -m tests.simulate_steps ASKED GIVEN."""

import json
import sys
from pathlib import Path

from engine.budget.step_shape import StepShape
from tools.simulator.configuration import configuration, source
from tools.simulator.report import answer


def main(asked: Path, given: Path) -> None:
    found = []
    for fields in json.loads(asked.read_text()):
        modules = fields["target_modules"]
        modules = modules if isinstance(modules, str) else tuple(modules)
        case = StepShape(**{**fields, "target_modules": modules})
        found.append(answer(configuration(source(case.model)), case).as_dict())
    given.write_text(json.dumps(found))


if __name__ == "__main__":
    main(Path(sys.argv[1]), Path(sys.argv[2]))
