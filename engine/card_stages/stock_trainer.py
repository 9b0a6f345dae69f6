"""TRL's SFTTrainer as it is, on rows of tokens: `python -m engine.card_stages.stock_trainer JSON`.

Nothing of the engine's that changes a package is imported here.
"""

import json
import sys
import tempfile
import time
from typing import Any

import torch
from datasets import Dataset
from peft import LoraConfig
from transformers import AutoModelForCausalLM, AutoTokenizer
from trl import SFTConfig, SFTTrainer

from engine.card_stages.timed_rows import RANK, Rows, Timing, prompt_tokens
from engine.gemma.lora_targets import ATTENTION, MLP
from engine.units import GIB


class TimedTrainer(SFTTrainer):  # type: ignore[misc, unused-ignore]
    """TRL's, with a clock at each step; a step is one micro-batch here."""

    timing: Timing

    def training_step(self, model: Any, inputs: Any, *rest: Any, **more: Any) -> Any:
        """The step that TRL takes, timed from when its batch is there."""
        tokens = int((inputs["input_ids"] != self.processing_class.pad_token_id).sum())
        torch.cuda.synchronize()
        self._began = time.perf_counter()
        loss = super().training_step(model, inputs, *rest, **more)
        self._tokens, self._loss = tokens, float(loss)
        return loss

    def log(self, logs: dict[str, float], *rest: object, **more: object) -> None:
        """Once a step, after the optimizer's."""
        if "loss" in logs:
            torch.cuda.synchronize()
            self.timing.add(time.perf_counter() - self._began, self._tokens, self._loss)


def main(request: dict[str, Any]) -> None:
    """Train, and print what it took as a line of JSON."""
    rows = Rows(**request["rows"])
    model = AutoModelForCausalLM.from_pretrained(
        request["model"], dtype=torch.bfloat16, device_map={"": "cuda"}
    )
    masks = [[int(place >= prompt_tokens(ids)) for place in range(len(ids))] for ids in rows.ids]
    with tempfile.TemporaryDirectory() as folder:
        trainer = TimedTrainer(
            model=model,
            args=SFTConfig(
                output_dir=folder,
                per_device_train_batch_size=rows.batch,
                max_steps=rows.steps,
                max_length=None,
                completion_only_loss=True,
                bf16=True,
                report_to="none",
                save_strategy="no",
                logging_steps=1,
                seed=request["seed"],
            ),
            train_dataset=Dataset.from_dict({"input_ids": rows.ids, "completion_mask": masks}),
            processing_class=AutoTokenizer.from_pretrained(request["model"]),
            peft_config=LoraConfig(r=RANK, lora_alpha=2 * RANK, target_modules=[*ATTENTION, *MLP]),
        )
        trainer.timing = Timing()
        torch.cuda.reset_peak_memory_stats()
        trainer.train()
    peak_gib = torch.cuda.max_memory_allocated() / GIB
    print(json.dumps({**trainer.timing.as_dict(), "allocated_gib": round(peak_gib, 3)}))


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
