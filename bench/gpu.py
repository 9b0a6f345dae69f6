"""Everything about a card in one command: `python bench/gpu.py --minutes 9 --out DIR`.

The stages of `gemma-bench doctor --gpu`, each a JSON line on stdout and in DIR/results.jsonl as it
ends. It needs an NVIDIA or AMD card, and has not been run on a real one yet.
"""

import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from workbench.cli import main

if __name__ == "__main__":
    sys.exit(main(["doctor", "--gpu", "--json", *sys.argv[1:]]))
