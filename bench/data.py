"""Rows per second of the engine's data preparation against TRL's own, on the same rows.

    python bench/data.py [--rows 4000] [--repeats 3] [--cores 2] [--tokenizer FOLDER]

Both read a JSON Lines file of messages, template, tokenise, mask the assistant's words and pack,
with the same tokenizer and training template, on the same cores: TRL with a process for each, the
engine as it chooses. Caches start empty each time. The runs alternate, and medians are compared.
"""

import argparse
import json
import os
import random
import statistics
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
sys.path.insert(0, str(Path(__file__).parents[1]))

MAX_LENGTH = 512
WORDS = ["the", "a", "model", "river", "stone", "answers", "what", "is", "why", "because", "light"]


def written(path: Path, rows: int) -> None:
    """Talks of one to three exchanges, up to a hundred words a turn; no two are the same."""
    draw = random.Random(0)

    def said() -> str:
        return " ".join(draw.choices(WORDS, k=draw.randint(5, 100)))

    with path.open("w") as file:
        for number in range(rows):
            talk = [
                {"role": role, "content": f"{number} {said()}"}
                for _ in range(draw.randint(1, 3))
                for role in ("user", "assistant")
            ]
            file.write(json.dumps({"messages": talk}) + "\n")


def ours(path: Path, tokenizer: Any, processes: int) -> int:
    """The engine's preparation, packed; tokens of it."""
    from engine.data.batches import pack
    from engine.data.encoding.template import template
    from engine.data.prepare import prepare
    from engine.recipe.schema import Data, Source

    data = Data(sources=(Source(path=str(path)),), max_length=MAX_LENGTH, packing=True)
    with tempfile.TemporaryDirectory() as cache:
        found = prepare(data, tokenizer, template("gemma4"), Path(cache), processes)
        pack(found.rows, MAX_LENGTH, found.rows.sizes().tolist())
        return found.tokens


def theirs(path: Path, tokenizer: Any, processes: int) -> int:
    """SFTTrainer's preparation of the same rows, without its trainer; tokens of it."""
    from datasets import load_dataset
    from trl import SFTConfig, SFTTrainer

    with tempfile.TemporaryDirectory() as cache:
        rows = load_dataset("json", data_files=str(path), split="train", cache_dir=cache)
        config = SFTConfig(
            output_dir=cache,
            max_length=MAX_LENGTH,
            packing=True,
            assistant_only_loss=True,
            dataset_num_proc=processes,
            use_cpu=True,
            bf16=False,
        )
        trainer = object.__new__(SFTTrainer)
        vars(trainer).update(_is_vlm=False, _is_vision_dataset=False, assistant_only_loss=True,
                             completion_only_loss=False, args=config,
                             chat_template=tokenizer.chat_template)  # fmt: skip
        made = trainer._prepare_dataset(rows, tokenizer, config, True, None, "train")
        return sum(len(ids) for ids in made.to_dict()["input_ids"])


def main() -> None:
    """Alternate both and print medians."""
    # Processes that are spawned import this file; they need nothing of what follows.
    from datasets import utils
    from transformers import AutoTokenizer

    from engine.data.encoding.template import template
    from engine.paths import EMBEDDED_WEIGHTS

    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("--rows", type=int, default=4000)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--cores", type=int, default=2)
    parser.add_argument("--tokenizer", default=str(EMBEDDED_WEIGHTS))
    given = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: given.cores])
    utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(given.tokenizer)
    tokenizer.chat_template = template("gemma4").text
    times: dict[str, list[float]] = {"engine": [], "TRL": []}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        written(path, given.rows)
        for _ in range(given.repeats):
            for name, prepare_all, processes in (("engine", ours, 0), ("TRL", theirs, given.cores)):
                start = time.perf_counter()
                tokens = prepare_all(path, tokenizer, processes)
                times[name].append(time.perf_counter() - start)
                print(f"{name}: {times[name][-1]:.2f} s, {tokens} tokens", flush=True)
    rates = {name: given.rows / statistics.median(taken) for name, taken in times.items()}
    for name, rate in rates.items():
        print(f"{name}: {rate:,.0f} rows/s")
    print(f"ratio: {rates['engine'] / rates['TRL']:.1f}")


if __name__ == "__main__":
    main()
