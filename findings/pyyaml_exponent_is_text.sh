#!/usr/bin/env bash
# PyYAML reads 2e-4 as text, where YAML 1.2 and tomllib read a number.
#
# Versions: PyYAML 6.0.3, Python 3.11.
# PyYAML keeps to YAML 1.1, whose floats need a dot and whose exponents need a sign. So a learning
# rate of `2e-4` is a str, `2.0e4` too, and `2.0e-4` is a float. Nothing warns; what is done with
# the text is up to whoever asked.
#
# Seen:
#   2e-4: str, 1.0e4: str, 2.0e-4: float, 1e-4 in a list: str
# Ends with 0 while that is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet pyyaml==6.0.3
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import yaml

seen = {text: type(yaml.safe_load(text)).__name__ for text in ("2e-4", "1.0e4", "2.0e-4")}
seen["1e-4 in a list"] = type(yaml.safe_load("[1e-4]")[0]).__name__
print(", ".join(f"{text}: {kind}" for text, kind in seen.items()))
sys.exit([*seen.values()] != ["str", "str", "float", "str"])
PYTHON
