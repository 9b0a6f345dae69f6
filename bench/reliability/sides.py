"""What `bench.torture` kills: the engine's own job, and TRL's SFTTrainer as it comes."""

import json
import os
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer, TrainerCallback
from trl import SFTConfig, SFTTrainer

import engine.jobs.resume_job
from bench.reliability.setup import EVERY, STEPS, Curve
from engine.__main__ import main
from engine.events import Step, decode
from engine.paths import EMBEDDED_WEIGHTS
from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir
from engine.run.tail import Tail
from workbench import launch

assert engine.jobs.resume_job  # its libraries are to be loaded before lives are forked
LIMIT, BATCH, RANK = 2, 2, 64
SETTINGS = {
    "training.max_steps": STEPS, "training.save_steps": EVERY, "training.save_total_limit": LIMIT,
    "training.per_device_train_batch_size": BATCH, "adapter.r": RANK, "adapter.lora_dropout": 0.1,
    "data.max_length": 64,
}  # fmt: skip


def lay_down_rows(folder: Path) -> Path:
    """Short questions with answers."""
    folder.mkdir(parents=True)
    rows = [
        {"prompt": f"What is {n} squared?", "completion": f"It is {n * n}" + " or so" * (n % 4)}
        for n in range(48)
    ]
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


class Ours:
    """The engine's train and resume jobs, on a run as the command line makes one."""

    name = "gemma-bench"

    def __init__(self) -> None:
        self.more: dict[str, str] = {}
        """Settings beyond those of all sides."""

    def begin(self, folder: Path) -> None:
        """Judge and make the run."""
        rows = lay_down_rows(folder)
        recipe = folder / "recipe.toml"
        recipe.write_text(f'[data]\nsources = [{{ path = "{rows}" }}]\n')
        overrides = [f"{key}={value}" for key, value in (SETTINGS | self.more).items()]
        launch.propose(str(recipe), overrides, "cpu", folder / "run").make()

    def live(self, folder: Path) -> None:
        """As the supervisor would start it."""
        run = RunDir(folder / "run")
        job = "resume" if checkpoint_manifest.newest(run)[0] else "train"
        raise SystemExit(main([job, str(run.path)]))

    def saved(self, folder: Path) -> list[Path]:
        """Those that are whole."""
        folders = (path for _, path in checkpoint_manifest.folders(RunDir(folder / "run")))
        return [path for path in folders if _is_whole(path)]

    def curve(self, folder: Path) -> Curve:
        """As the events tell."""
        lines = Tail(RunDir(folder / "run").events).read_new()
        steps = [event for event in map(decode, lines) if isinstance(event, Step)]
        return {event.step: event.metrics.get("loss") or 0.0 for event in steps}


def _is_whole(path: Path) -> bool:
    try:
        checkpoint_manifest.verified(path)
    except checkpoint_manifest.Invalid:
        return False
    return True


class LossLog(TrainerCallback):
    """Writes down every loss."""

    def __init__(self, path: Path) -> None:
        self._path = path

    def on_log(self, args: Any, state: Any, control: Any, logs: Any, **_: Any) -> None:
        """One line a step."""
        if "loss" in logs:
            with self._path.open("a") as file:
                file.write(json.dumps([state.global_step, logs["loss"]]) + "\n")


class Stock:
    """SFTTrainer with its own checkpoints."""

    name = "TRL"

    def begin(self, folder: Path) -> None:
        """Nothing but rows."""
        lay_down_rows(folder)

    def live(self, folder: Path) -> None:
        """Train, and let it look for its last checkpoint where there is one."""
        torch.manual_seed(0)
        trainer = SFTTrainer(
            model=AutoModelForCausalLM.from_pretrained(EMBEDDED_WEIGHTS, dtype=torch.float32),
            args=SFTConfig(
                output_dir=str(folder / "out"), max_steps=STEPS, save_steps=EVERY,
                save_total_limit=LIMIT, per_device_train_batch_size=BATCH, max_length=64,
                logging_steps=1, use_cpu=True, bf16=False, report_to="none", disable_tqdm=True,
            ),
            train_dataset=load_dataset(
                "json", data_files=str(folder / "rows.jsonl"), split="train",
                cache_dir=str(folder / f"cache-{os.getpid()}"),
            ),
            processing_class=AutoTokenizer.from_pretrained(EMBEDDED_WEIGHTS),
            peft_config=LoraConfig(r=RANK, lora_dropout=0.1, target_modules="all-linear"),
            callbacks=[LossLog(folder / "losses.jsonl")],
        )  # fmt: skip
        trainer.train(resume_from_checkpoint=bool(self.saved(folder)))

    def saved(self, folder: Path) -> list[Path]:
        """Whatever is called a checkpoint."""
        folders = (folder / "out").glob("checkpoint-*")
        return sorted(folders, key=lambda path: -int(path.name.rpartition("-")[2]))

    def curve(self, folder: Path) -> Curve:
        """As it was logged; a torn last line is left out."""
        path = folder / "losses.jsonl"
        lines = path.read_text().split("\n")[:-1] if path.exists() else []
        return {step: loss for line in lines if line for step, loss in [json.loads(line)]}
