"""Memory while rows are prepared doesn't grow with their number."""

import json
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

PREPARE = """
import json, re, sys, threading, time
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
model, rows, cache = sys.argv[1:]
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
"""Watches the process's own memory; pages of mapped files are the system's to take back."""
FEW, MANY = 4_000, 32_000


def grown_mib(rows: int, model: Path, folder: Path, ending: str) -> tuple[int, int, float]:
    """Rows, tokens, and growth of the peak over what 500 rows left."""
    path = folder / f"{rows}.{ending}"
    with path.open("w") as file:
        file.write("[\n" if ending == "json" else "")
        for number in range(rows):
            row = {"question": f"Question {number}?", "answer": f"{number} and a word " * 25}
            comma = "," if ending == "json" and number < rows - 1 else ""
            file.write(json.dumps(row) + comma + "\n")
        file.write("]\n" if ending == "json" else "")
    command = [sys.executable, "-c", PREPARE, str(model), str(path), str(folder / "cache")]
    done = subprocess.run(command, check=True, capture_output=True, text=True)
    taken, tokens, grown = json.loads(done.stdout.splitlines()[-1])
    return taken, tokens, grown


@pytest.mark.skipif(not Path("/proc/self/status").exists(), reason="needs Linux's /proc")
@pytest.mark.parametrize("ending", ["jsonl", "json"])
@pytest.mark.slow
def test_eight_times_the_rows_take_hardly_more_memory(
    ending: str, gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    model = gemma_folder("embedded")
    few = grown_mib(FEW, model, tmp_path, ending)
    many = grown_mib(MANY, model, tmp_path, ending)
    print(few, many)
    assert (few[0], many[0]) == (FEW, MANY)
    in_lists_mib = (many[1] - few[1]) * 2 * 8 / 2**20
    """What ids and labels would take as lists of Python, their integers not counted."""
    assert many[2] - few[2] < 0.25 * in_lists_mib
