"""Asks the embedded model questions it was never trained on."""

import argparse
from collections.abc import Sequence
from pathlib import Path

import torch
from transformers import AutoModelForCausalLM, AutoTokenizer, PreTrainedModel
from transformers import PreTrainedTokenizerBase as Tokenizer

from engine.paths import EMBEDDED_WEIGHTS
from tools.embedded_model.corpus.conversations import FAMILIES, unseen_instances
from tools.embedded_model.corpus.instance import Instance

LONGEST_REPLY = 40
BATCH = 64


def read(folder: Path) -> tuple[PreTrainedModel, Tokenizer]:
    """The model of a folder in fp32, ready to answer, and its tokenizer."""
    model = AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32).eval()
    return model, AutoTokenizer.from_pretrained(folder)


@torch.inference_mode()
def replies(model: PreTrainedModel, tokenizer: Tokenizer, questions: Sequence[str]) -> list[str]:
    """The model's greedy reply to each question, asked alone through the chat template."""
    order = sorted(range(len(questions)), key=lambda index: len(questions[index]))
    answers = [""] * len(questions)
    for start in range(0, len(order), BATCH):
        part = order[start : start + BATCH]
        prompts = [[{"role": "user", "content": questions[index]}] for index in part]
        batch = tokenizer.apply_chat_template(
            prompts, add_generation_prompt=True, padding=True, return_dict=True, return_tensors="pt"
        )
        out = model.generate(**batch, max_new_tokens=LONGEST_REPLY)
        texts = tokenizer.batch_decode(
            out[:, batch["input_ids"].shape[1] :], skip_special_tokens=True
        )
        for index, text in zip(part, texts, strict=True):
            answers[index] = text.strip()
    return answers


def shares(
    model: PreTrainedModel, tokenizer: Tokenizer, per_family: int, seed: int = 7
) -> dict[str, tuple[int, int]]:
    """For each family: how many unseen instances were answered rightly, and how many were asked."""
    instances = [item for family in FAMILIES for item in unseen_instances(family, per_family, seed)]
    answers = replies(model, tokenizer, [item.question for item in instances])
    scores: dict[str, tuple[int, int]] = {}
    for item, reply in zip(instances, answers, strict=True):
        right, total = scores.get(item.family, (0, 0))
        scores[item.family] = (right + item.answered_by(reply), total + 1)
    return scores


def overall(scores: dict[str, tuple[int, int]]) -> float:
    """The share of all questions answered rightly, 0 to 1."""
    return sum(right for right, _ in scores.values()) / sum(total for _, total in scores.values())


def report(scores: dict[str, tuple[int, int]]) -> str:
    """One line per family and one for all."""
    lines = [f"{name:<12}{right:>5} of {total:<5}{right / total:>7.1%}"
             for name, (right, total) in scores.items()]  # fmt: skip
    return "\n".join([*lines, f"{'all unseen':<12}{overall(scores):>21.1%}"])


def wrong(
    model: PreTrainedModel, tokenizer: Tokenizer, instances: list[Instance]
) -> list[tuple[Instance, str]]:
    """The instances answered wrongly, with the reply."""
    answers = replies(model, tokenizer, [item.question for item in instances])
    return [(item, reply) for item, reply in zip(instances, answers, strict=True)
            if not item.answered_by(reply)]  # fmt: skip


def main() -> None:
    """Prints the held-out shares of the model in a folder."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", nargs="?", type=Path, default=EMBEDDED_WEIGHTS)
    parser.add_argument("--per-family", type=int, default=100)
    arguments = parser.parse_args()
    print(report(shares(*read(arguments.folder), arguments.per_family)))


if __name__ == "__main__":
    main()
