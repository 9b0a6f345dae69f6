"""`python -m engine.card_stages STAGE REQUEST`: what a stage finds out, a JSON line for each part.

All else that is printed goes to stderr.
"""

import importlib
import json
import os
import sys

from engine.card_stages.card_trial import CardTrial


def main(name: str, request: str) -> None:
    """Run the stage of a name; REQUEST is what `CardTrial.from_dict` reads, as JSON."""
    lines = os.fdopen(os.dup(sys.stdout.fileno()), "w")
    os.dup2(sys.stderr.fileno(), sys.stdout.fileno())
    trial = CardTrial.from_dict(json.loads(request))
    stage = importlib.import_module(f"engine.card_stages.{name}")
    for part in stage.parts(trial):
        print(json.dumps(part), file=lines, flush=True)


if __name__ == "__main__":
    main(*sys.argv[1:])
