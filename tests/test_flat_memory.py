"""Memory while rows are prepared doesn't grow with their number."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PREPARE = """
import json, os, re, sys, threading, time
from pathlib import Path
from transformers import AutoTokenizer
from engine.data.batches import pack
from engine.data.prepare import prepare
from engine.data.encoding.template import template
from engine.recipe.schema import Data, Source
from engine.train.loader import mapped
def own_mib():
    status = Path("/proc/self/status").read_text()
    return int(re.search(r"RssAnon:\\s+(\\d+)", status)[1]) / 1024
peak_mib = 0.0
def watch():
    global peak_mib
    while True:
        peak_mib = max(peak_mib, own_mib())
        time.sleep(0.005)
model, cache, *files = sys.argv[1:]
for rows in files:
    if os.fork() == 0:
        break
    if os.wait()[1]:
        sys.exit(1)
else:
    sys.exit(0)
tokenizer = AutoTokenizer.from_pretrained(model)
warm = Data(sources=(Source(path=rows, rows=500),), max_length=512)
prepare(warm, tokenizer, template("gemma4"), Path(cache), 1)
before = own_mib()
threading.Thread(target=watch, daemon=True).start()
data = Data(sources=(Source(path=rows),), max_length=512)
result = prepare(data, tokenizer, template("gemma4"), Path(cache), 1)
sequences, lengths = mapped(pack(result.rows, 512, result.rows.sizes().tolist()))
print(json.dumps([len(result.rows), result.tokens, peak_mib - before]))
"""
"""Watches its own memory, in a process for each file; pages of mapped files are the system's to
take back."""
FEW, MANY = 4_000, 32_000


def written(rows: int, folder: Path, ending: str) -> Path:
    path = folder / f"{rows}.{ending}"
    with path.open("w") as file:
        file.write("[\n" if ending == "json" else "")
        for number in range(rows):
            row = {"question": f"Question {number}?", "answer": f"{number} and a word " * 25}
            comma = "," if ending == "json" and number < rows - 1 else ""
            file.write(json.dumps(row) + comma + "\n")
        file.write("]\n" if ending == "json" else "")
    return path


def grown_mib(model: Path, folder: Path, *files: Path) -> list[tuple[int, int, float]]:
    """Of each file: rows, tokens, and growth of the peak over what 500 rows left."""
    command = [sys.executable, "-c", PREPARE, str(model), str(folder / "cache"), *map(str, files)]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    return [tuple(json.loads(line)) for line in done.stdout.splitlines() if line.startswith("[")]


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.slow
def test_eight_times_the_rows_take_hardly_more_memory(
    ending: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    files = (written(rows, tmp_path, ending) for rows in (FEW, MANY))
    few, many = grown_mib(gemma_folder("embedded"), tmp_path, *files)
    print(few, many)
    assert (few[0], many[0]) == (FEW, MANY)
    in_lists_mib = (many[1] - few[1]) * 2 * 8 / 2**20
    """What ids and labels would take as lists of Python, their integers not counted."""
    assert many[2] - few[2] < 0.25 * in_lists_mib
