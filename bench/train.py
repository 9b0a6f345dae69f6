"""Training on rows of mixed lengths: the engine beside TRL's SFTTrainer as it comes.

    python bench/train.py [--repeats 5] [--steps 5] [--models 30m 270m] [--before CHECKOUT]

All train the same LoRA on the same rows with the same tokens supervised: the engine as
`gemma-bench --run` starts it, in whatever type the processor computes in; its kernels in a plain
loop, which shows what the trainer around them costs; TRL with its defaults (bfloat16 autocast,
checkpointing, rows in random order), and once more in float32. Models have random weights, every
side is a process of its own on two threads, sides alternate, medians are compared, without each
side's first step. The learning rate is next to nothing, so that the mean loss over all rows is the
same in any order. GEMMA_BENCH_REAL_ROWS=FOLDER takes rows of published sets that lie there, in
tokens of --tokenizer; without it lengths are drawn, lognormal about a median of 134 tokens.
"""

import argparse
import json
import os
import random
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

os.environ["HF_HUB_OFFLINE"] = "1"
ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))

ALL = {"sliding_window": 512, "num_attention_heads": 4, "num_key_value_heads": 1}
MODELS: dict[str, dict[str, int]] = {
    "30m": {"vocab_size": 32_768, "hidden_size": 384, "intermediate_size": 1536,
            "num_hidden_layers": 8, "head_dim": 96, "query_pre_attn_scalar": 96, **ALL},
    "270m": {"vocab_size": 262_144, "hidden_size": 640, "intermediate_size": 2048,
             "num_hidden_layers": 18, "head_dim": 256, "query_pre_attn_scalar": 256, **ALL},
}  # fmt: skip
SIDES = ("engine", "plain loop", "TRL", "TRL in float32")
BEFORE = "build before"
SETS = ("gpteacher_roleplay", "koalpaca_v1", "gsm8k_train", "sharegpt_dummy_vicuna")
RATE = 1e-7
Row = dict[str, list[int]]


def write_model(name: str, folder: Path) -> None:
    """A Gemma 3 with random weights in bfloat16, as checkpoints are, with some tokenizer."""
    import torch
    from transformers import AutoTokenizer, Gemma3ForCausalLM, Gemma3TextConfig

    from engine.paths import EMBEDDED_WEIGHTS

    torch.manual_seed(0)
    tokens = {"pad_token_id": 0, "eos_token_id": 1, "bos_token_id": 2}
    config = Gemma3TextConfig(**MODELS[name], **tokens, max_position_embeddings=4096)
    Gemma3ForCausalLM(config).bfloat16().save_pretrained(folder)
    AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS).save_pretrained(folder)


def rows(count: int, longest: int, tokenizer: str) -> list[Row]:
    """Token numbers and labels; those of a vocabulary's size are made of them later."""
    folder = os.environ.get("GEMMA_BENCH_REAL_ROWS")
    if folder:
        rows_of_sets = published(Path(folder), longest, tokenizer)
        return random.Random(0).sample(rows_of_sets, count)
    draw = random.Random(0)
    lengths = [min(longest, max(24, int(draw.lognormvariate(4.9, 0.8)))) for _ in range(count)]
    return [_drawn(draw, length) for length in lengths]


def _drawn(draw: random.Random, length: int) -> Row:
    ids = [draw.randrange(10, 1 << 18) for _ in range(length)]
    prompt = int(length * draw.uniform(0.1, 0.7))
    return {"input_ids": ids, "labels": [-100] * prompt + ids[prompt:]}


def published(folder: Path, longest: int, tokenizer: str) -> list[Row]:
    """Rows of the sets as the engine prepares them."""
    from transformers import AutoTokenizer

    from engine.data.encoding.template import template
    from engine.data.prepare import prepare
    from engine.recipe.schema import Data, Source

    sources = tuple(Source(path=str(folder / f"{name}.jsonl")) for name in SETS)
    data = Data(sources=sources, max_length=longest)
    with tempfile.TemporaryDirectory() as cache:
        of_rows = AutoTokenizer.from_pretrained(tokenizer)
        prepared = prepare(data, of_rows, template("gemma4"), Path(cache), 1)
        return [{"input_ids": list(r.ids), "labels": list(r.labels)} for r in prepared.rows]


def within(row: Row, size: int) -> Row:
    """A row in a vocabulary of that size; which tokens they are makes no difference to speed."""
    ids = [token % size for token in row["input_ids"]]
    labels = [label if label < 0 else label % size for label in row["labels"]]
    return {"input_ids": ids, "labels": labels}


def trained(side: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """One epoch on one side, in this process."""
    import torch

    from bench.speed.step_clock import Clock

    torch.set_num_threads(options.threads)
    samples = [json.loads(line) for line in (folder / "rows.jsonl").read_text().splitlines()]
    clock = Clock()
    if side == "engine":
        _engine(folder, samples, clock, options)
    else:
        trainer = (_trl if side.startswith("TRL") else _plain)(
            side, folder, samples, clock, options
        )
        trainer.data_collator = clock.counting(trainer.data_collator)
        trainer.train()
    return {**clock.figures(), "peak_mib": _peak_mib()}


def _loaded(folder: Path, samples: list[Row]) -> tuple[Any, list[Any]]:
    """The model as the engine loads it, and the rows as its sequences."""
    from engine.data.batches import TokenSequence
    from engine.hardware import profiles
    from engine.model.load import load
    from engine.recipe.schema import Model

    sequences = [
        TokenSequence(row["input_ids"], row["labels"], [*range(len(row["labels"]))])
        for row in samples
    ]
    return load(Model(path=str(folder)), profiles.runnable("cpu")), sequences


def _engine(folder: Path, samples: list[Row], clock: Any, options: Any) -> None:
    from bench.speed.step_clock import LoopClock
    from engine.model import lora
    from engine.objectives.sft import SupervisedFineTuning
    from engine.recipe.schema import Adapter, Data, Source, Training
    from engine.train.loop import train
    from engine.train.optimizer import optimizer_of
    from engine.train.state import assembled

    class Counting(SupervisedFineTuning):
        def collator(self, pad_token_id: int, *, counts_on: bool) -> Any:
            return clock.counting(super().collator(pad_token_id, counts_on=counts_on))

    loaded, sequences = _loaded(folder, samples)
    model = lora.attach(loaded.model, Adapter(r=16, lora_alpha=32), 0)
    training = Training(
        per_device_train_batch_size=options.batch,
        learning_rate=RATE,
        gradient_checkpointing=options.checkpointing,
    )
    data = Data(sources=(Source(path="none"),))
    optimizer = optimizer_of(model, training)
    state = assembled(model, loaded, sequences, Counting(), optimizer, training, data)
    train(state, [LoopClock(clock)])


def _plain(side: str, folder: Path, samples: list[Row], clock: Any, options: Any) -> Any:
    from bench.speed.plain_loop import PlainLoop

    loaded, sequences = _loaded(folder, samples)
    return PlainLoop(loaded, sequences, clock, options.batch, RATE)


def _trl(side: str, folder: Path, samples: list[Row], clock: Any, options: Any) -> Any:
    from datasets import Dataset
    from peft import LoraConfig
    from transformers import AutoTokenizer
    from trl import SFTConfig, SFTTrainer

    from engine.gemma.lora_targets import ATTENTION, MLP

    config = SFTConfig(
        output_dir=str(folder / "staging"),
        per_device_train_batch_size=options.batch,
        learning_rate=RATE,
        logging_steps=1,
        save_strategy="no",
        report_to="none",
        disable_tqdm=True,
        use_cpu=True,
        dataset_kwargs={"skip_prepare_dataset": True},
        **({"bf16": False} if side == "TRL in float32" else {}),
    )
    adapter = LoraConfig(
        r=16, lora_alpha=32, target_modules=[*ATTENTION, *MLP], task_type="CAUSAL_LM"
    )
    return SFTTrainer(
        model=str(folder),
        args=config,
        train_dataset=Dataset.from_list(samples),
        processing_class=AutoTokenizer.from_pretrained(folder),
        peft_config=adapter,
        callbacks=[clock],
    )


def _peak_mib() -> float:
    """The most that this process ever held; Linux tells it by process image."""
    lines = Path("/proc/self/status").read_text().splitlines()
    (line,) = (line for line in lines if line.startswith("VmHWM"))
    return int(line.split()[1]) / 1024


def started(side: str, folder: Path, options: argparse.Namespace) -> dict[str, float]:
    """One side in a process of its own, the engine's as the launcher starts it."""
    from workbench import launch

    is_trl = side.startswith("TRL")
    environment = dict(os.environ) if is_trl else launch._environment("cpu")
    environment |= {"OMP_NUM_THREADS": str(options.threads)}
    root = options.before.resolve() if side == BEFORE else ROOT
    environment |= {"PYTHONPATH": str(root)}
    command = [sys.executable, "-W", "ignore", str(root / "bench" / "train.py")]
    command += ["--one", "engine" if side == BEFORE else side, "--folder", str(folder)]
    command += ["--batch", str(options.batch), "--threads", str(options.threads)]
    command += [] if options.checkpointing else ["--no-checkpointing"]
    done = subprocess.run(command, env=environment, capture_output=True, text=True, check=False)
    if done.returncode:
        sys.exit(done.stderr)
    figures: dict[str, float] = json.loads(done.stdout.splitlines()[-1])
    print(f"{side}: {figures}", file=sys.stderr, flush=True)
    return figures


def compared(name: str, options: argparse.Namespace) -> list[str]:
    """Lines of a table for one model."""
    with tempfile.TemporaryDirectory(prefix="gemma-bench-") as temporary:
        folder = Path(temporary)
        write_model(name, folder)
        size = MODELS[name]["vocab_size"]
        drawn = rows(options.steps * options.batch, options.max_length, options.tokenizer)
        lines = [json.dumps(within(row, size)) for row in drawn]
        (folder / "rows.jsonl").write_text("\n".join(lines))
        sides = [side for side in SIDES if side in options.sides]
        sides += [BEFORE] if options.before else []
        figures: dict[str, list[dict[str, float]]] = {side: [] for side in sides}
        for _ in range(options.repeats):
            for side in sides:
                figures[side].append(started(side, folder, options))
    medians = {
        side: {key: statistics.median(one[key] for one in them) for key in them[0]}
        for side, them in figures.items()
    }
    ours = medians["engine"]
    return [
        f"| {name} | {side} | {one['tokens_per_s']:.1f} | "
        f"{ours['tokens_per_s'] / one['tokens_per_s']:.1f} | {one['peak_mib']:.0f} | "
        f"{ours['peak_mib'] / one['peak_mib']:.2f} | {one['loss']:.5f} | "
        f"{ours['loss'] - one['loss']:+.1e} |"
        for side, one in medians.items()
    ]


def main() -> None:
    """Print a table."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    for name, value in (("repeats", 5), ("steps", 5), ("batch", 4), ("threads", 2)):
        parser.add_argument(f"--{name}", type=int, default=value)
    parser.add_argument("--max-length", type=int, default=512)
    parser.add_argument("--models", nargs="+", choices=MODELS, default=[*MODELS])
    parser.add_argument("--sides", nargs="+", choices=SIDES, default=[*SIDES])
    parser.add_argument("--before", type=Path, help="a checkout of an older build, as a side more")
    parser.add_argument("--checkpointing", action=argparse.BooleanOptionalAction, default=True)
    parser.add_argument(
        "--tokenizer", default=str(ROOT / "engine" / "model" / "embedded" / "weights")
    )
    parser.add_argument("--one", choices=SIDES, help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, help=argparse.SUPPRESS)
    options = parser.parse_args()
    if options.one:
        print(json.dumps(trained(options.one, options.folder, options)))
        return
    print("| model | | tokens/s | engine's over it | peak MiB | engine's over it | loss | off by |")
    print("|---|---|--:|--:|--:|--:|--:|--:|")
    for name in options.models:
        print("\n".join(compared(name, options)), flush=True)


if __name__ == "__main__":
    main()
