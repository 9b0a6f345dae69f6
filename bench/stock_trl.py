"""TRL's SFTTrainer with its defaults on a folder's model and rows, in a process of its own."""

import json
import sys
import time
from pathlib import Path
from typing import Any

import torch
from datasets import load_dataset
from peft import LoraConfig
from transformers import (
    AutoModelForCausalLM,
    AutoTokenizer,
    BitsAndBytesConfig,
    TrainerCallback,
)
from trl import SFTConfig, SFTTrainer


class Clock(TrainerCallback):
    """When each step ended."""

    def __init__(self) -> None:
        self.ends: list[float] = []

    def on_step_end(self, args: Any, state: Any, control: Any, **kwargs: Any) -> None:
        """Wait for the card, and look."""
        if torch.cuda.is_available():
            torch.cuda.synchronize()
        self.ends.append(time.perf_counter())


def main(folder: Path, quantization: str, targets: list[str], length: int, steps: int) -> None:
    """Train, and print tokens a second and the most memory as a line of JSON."""
    has_card = torch.cuda.is_available()
    four_bits = BitsAndBytesConfig(
        load_in_4bit=True, bnb_4bit_quant_type="nf4", bnb_4bit_use_double_quant=True
    )
    model = AutoModelForCausalLM.from_pretrained(
        folder / "model",
        dtype=torch.bfloat16 if has_card else torch.float32,
        device_map={"": "cuda" if has_card else "cpu"},
        quantization_config=four_bits if quantization == "nf4" else None,
    )
    names = rf"({'|'.join(targets)})"
    clock = Clock()
    trainer = SFTTrainer(
        model=model,
        args=SFTConfig(
            output_dir=str(folder / "stock"),
            per_device_train_batch_size=1,
            max_steps=steps,
            max_length=length,
            use_cpu=not has_card,
            report_to="none",
            save_strategy="no",
        ),
        train_dataset=load_dataset("json", data_files=str(folder / "rows.jsonl"), split="train"),
        processing_class=AutoTokenizer.from_pretrained(folder / "model"),
        peft_config=LoraConfig(
            r=16,
            lora_alpha=32,
            target_modules=rf".*language_model.*\.({names})|model\.layers.*\.({names})",
        ),
        callbacks=[clock],
    )
    trainer.train()
    seconds = sorted(b - a for a, b in zip(clock.ends[2:], clock.ends[3:], strict=False))
    allocated = torch.cuda.max_memory_allocated() / 2**30 if has_card else None
    found = {"tokens_per_s": length / seconds[len(seconds) // 2], "allocated_gib": allocated}
    print(json.dumps(found))


if __name__ == "__main__":
    folder, *rest = json.loads(sys.argv[1])
    main(Path(folder), *rest)
