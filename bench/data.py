"""Rows per second of the engine's data preparation against TRL's own, on the same rows.

    python bench/data.py [--rows 4000] [--repeats 3] [--cores 2] [--tokenizer FOLDER] [--file ROWS]
        [--dialect gemma3]

Both read a JSON Lines file of messages, template, tokenise, mask the assistant's words and pack,
with the same tokenizer and training template, on the same cores: TRL with its default of one
process and with one for each core, the engine as it chooses, and also from a JSON list. Caches
start empty each time. The runs alternate, and medians of seconds and of processor seconds are
compared: where others are at work, the second say more.
"""

import argparse
import json
import os
import random
import resource
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


def ours(path: Path, tokenizer: Any, processes: int | None, dialect: str) -> int:
    """The engine's preparation, packed; tokens of it."""
    from engine.data.batches import pack
    from engine.data.encoding.template import template
    from engine.data.prepare import prepare
    from engine.recipe.schema import Data, Source

    data = Data(sources=(Source(path=str(path)),), max_length=MAX_LENGTH, packing=True)
    with tempfile.TemporaryDirectory() as cache:
        prepared = prepare(data, tokenizer, template(dialect), Path(cache), processes or 0)
        pack(prepared.rows, MAX_LENGTH, prepared.rows.sizes().tolist())
        return prepared.tokens


def theirs(path: Path, tokenizer: Any, processes: int | None, _dialect: str) -> int:
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
        tokenized = trainer._prepare_dataset(rows, tokenizer, config, True, None, "train")
        return sum(len(ids) for ids in tokenized.to_dict()["input_ids"])


def as_list(path: Path) -> Path:
    """The same rows as one JSON list."""
    listed = path.with_suffix(".json")
    listed.write_text(json.dumps([json.loads(line) for line in path.read_text().splitlines()]))
    return listed


def processor_s() -> float:
    """Processor time so far of this process and of those that it has waited for."""
    usages = map(resource.getrusage, (resource.RUSAGE_SELF, resource.RUSAGE_CHILDREN))
    return sum(usage.ru_utime + usage.ru_stime for usage in usages)


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
    parser.add_argument("--dialect", default="gemma4", help="whose template is trained on")
    parser.add_argument("--file", type=Path, help="JSON Lines of messages, instead of made rows")
    options = parser.parse_args()
    if hasattr(os, "sched_setaffinity"):
        os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[: options.cores])
    utils.logging.disable_progress_bar()
    tokenizer = AutoTokenizer.from_pretrained(options.tokenizer)
    tokenizer.chat_template = template(options.dialect).text
    times: dict[str, list[float]] = {}
    processor: dict[str, list[float]] = {}
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "rows.jsonl"
        if options.file:
            path.write_bytes(options.file.read_bytes())
            options.rows = len(path.read_text().splitlines())
        else:
            written(path, options.rows)
        ways = (
            ("engine", ours, path, 0),
            ("engine, JSON list", ours, as_list(path), 0),
            ("TRL, 1 process", theirs, path, None),
            (f"TRL, {options.cores} processes", theirs, path, options.cores),
        )
        for _ in range(options.repeats):
            for name, prepare_all, file, processes in ways:
                start, start_processor = time.perf_counter(), processor_s()
                tokens = prepare_all(file, tokenizer, processes, options.dialect)
                spent_s = time.perf_counter() - start, processor_s() - start_processor
                times.setdefault(name, []).append(spent_s[0])
                processor.setdefault(name, []).append(spent_s[1])
                print(
                    f"{name}: {spent_s[0]:.2f} s, {spent_s[1]:.2f} of processors, {tokens} tokens"
                )
    engine_s, engine_processor_s = (statistics.median(one["engine"]) for one in (times, processor))
    for name in times:
        wall_s, cpu_s = statistics.median(times[name]), statistics.median(processor[name])
        ratios = f"{wall_s / engine_s:.1f} times the engine's, {cpu_s / engine_processor_s:.1f}"
        print(f"{name}: {options.rows / wall_s:,.0f} rows/s; {ratios} of processor time")


if __name__ == "__main__":
    main()
