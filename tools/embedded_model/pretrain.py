"""Makes the embedded model from nothing: python -m tools.embedded_model.pretrain [--out DIR]."""

import argparse
import math
import os
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import islice
from pathlib import Path

import torch
from torch.nn import functional
from transformers import AutoTokenizer, Gemma4ForCausalLM

from engine.paths import EMBEDDED_WEIGHTS
from tools.embedded_model.architecture import fresh_model
from tools.embedded_model.corpus.conversations import conversations
from tools.embedded_model.measure import read, report, shares
from tools.embedded_model.muon import Muon
from tools.embedded_model.packing import IGNORED, batches, rows
from tools.embedded_model.tokenizer import build_tokenizer

ROWS, LENGTH = 16, 128
MATRIX_RATE, TABLE_RATE = 0.02, 0.008
WARM_UP = 40

ENVIRONMENT = {
    "OMP_WAIT_POLICY": "PASSIVE",
    "MALLOC_MMAP_THRESHOLD_": "8589934592",
    "MALLOC_TRIM_THRESHOLD_": "8589934592",
}

Batch = tuple[torch.Tensor, torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Stage:
    """A part of the training; each starts from the files the one before it saved."""

    steps: int
    rate: float
    """A factor on the learning rates."""
    learnt_whole: float
    """The share of conversations spelled in pieces and learnt with the user's words."""


STAGES = (Stage(3000, 1.0, 0.25), Stage(800, 0.3, 0.05))
"""First every entry of the vocabulary is met, then right answers count for more."""


def optimizers(model: Gemma4ForCausalLM) -> list[torch.optim.Optimizer]:
    """Muon for the layers' matrices, AdamW for the embedding tables and the norms."""
    matrices: list[torch.nn.Parameter] = []
    rest: list[torch.nn.Parameter] = []
    for name, weight in model.named_parameters():
        (matrices if weight.ndim == 2 and "embed_tokens" not in name else rest).append(weight)
    return [
        Muon(matrices, lr=MATRIX_RATE, weight_decay=0.01),
        torch.optim.AdamW(rest, lr=TABLE_RATE, weight_decay=0.0, betas=(0.9, 0.98)),
    ]


def rate(step: int, steps: int) -> float:
    """The factor on the learning rates: a short rise, a plateau, then a straight fall to zero."""
    return min(1.0, (step + 1) / WARM_UP, (steps - step) / (0.7 * steps))


def loss_of(model: Gemma4ForCausalLM, batch: Batch) -> torch.Tensor:
    """Mean cross-entropy of the model's words in a batch of packed rows.

    Without an attention mask the positions alone tell the samples of a row apart. Logits are made
    only where there is a label, and capped as Gemma 4 caps them.
    """
    ids, positions, labels = batch
    body = model.model(input_ids=ids, position_ids=positions, use_cache=False)
    hidden = body.last_hidden_state[:, :-1]
    target = labels[:, 1:]
    taught = target != IGNORED
    cap = model.config.final_logit_softcapping
    logits = torch.tanh(model.lm_head(hidden[taught]) / cap) * cap
    return functional.cross_entropy(logits, target[taught])


def train(model: Gemma4ForCausalLM, source: Iterator[Batch], stage: Stage) -> None:
    """Trains for one stage, telling the running mean of the loss now and then."""
    both = optimizers(model)
    groups = [group for optimizer in both for group in optimizer.param_groups]
    base = [group["lr"] * stage.rate for group in groups]
    start, mean = time.monotonic(), math.log(model.config.vocab_size)
    model.train()
    for step, batch in enumerate(islice(source, stage.steps)):
        for group, full in zip(groups, base, strict=True):
            group["lr"] = full * rate(step, stage.steps)
        loss = loss_of(model, batch)
        loss.backward()
        torch.nn.utils.clip_grad_norm_(model.parameters(), 1.0)
        for optimizer in both:
            optimizer.step()
            optimizer.zero_grad()
        mean += 0.05 * (loss.item() - mean)
        if step % 50 == 0:
            spent = time.monotonic() - start
            print(f"step {step}/{stage.steps} loss {mean:.3f} "
                  f"{(step + 1) * ROWS * LENGTH / spent:,.0f} tokens/s {spent / 60:.1f} min",
                  flush=True)  # fmt: skip


def save(model: Gemma4ForCausalLM, out: Path) -> None:
    """Writes the weights in bf16 with the configurations; the model itself stays as it is."""
    rounded = Gemma4ForCausalLM(model.config).to(torch.bfloat16)
    rounded.load_state_dict(model.state_dict())
    rounded.generation_config = model.generation_config
    rounded.save_pretrained(out)


def make(out: Path, stages: Sequence[Stage], seed: int) -> None:
    """Builds the tokenizer and trains the model into `out`, stage after stage."""
    torch.set_num_threads(2)
    build_tokenizer(seed).save_pretrained(out)
    model = fresh_model(seed)
    for number, stage in enumerate(stages):
        carry_on(model, out, stage, seed + 10 * number)
        model, _ = read(out)


def carry_on(model: Gemma4ForCausalLM, out: Path, stage: Stage, seed: int) -> None:
    """Trains the model for one stage with the tokenizer in `out`, and saves it there."""
    tokenizer = AutoTokenizer.from_pretrained(out)
    packed = rows(conversations(seed + 1), tokenizer, LENGTH, stage.learnt_whole, seed)
    train(model, batches(packed, ROWS, seed), stage)
    save(model, out)


def in_fit_environment() -> None:
    """Starts this process again with settings that only count from its very beginning.

    Threads that wait asleep, since a spinning pair on two busy cores is several times slower; and
    an allocator that keeps freed memory, since fresh pages cost as much as the arithmetic.
    """
    if any(name not in os.environ for name in ENVIRONMENT):
        command = [sys.executable, "-m", "tools.embedded_model.pretrain", *sys.argv[1:]]
        os.execve(sys.executable, command, ENVIRONMENT | os.environ)


def main() -> None:
    """Runs the whole making and prints the held-out shares."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--out", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--seed", type=int, default=0)
    arguments = parser.parse_args()
    begun = time.monotonic()
    make(arguments.out, STAGES, arguments.seed)
    print(f"made in {(time.monotonic() - begun) / 60:.1f} minutes")
    print(report(shares(*read(arguments.out), 100)))


if __name__ == "__main__":
    in_fit_environment()
    main()
