"""Checks of Gemma's own mechanisms: shared keys and values, capped logits, tables on the host."""

import math
from collections.abc import Iterator

import torch

from engine.data.batches import alone
from engine.data.conversation import Turn
from engine.data.encoding.tokens import IGNORED, tokenize
from engine.doctor.check import Measurement, check
from engine.doctor.specimens import QUESTIONS, SHARING, TABLES, Specimens, sequences, template_of
from engine.doctor.trial import RecordedStep, Trial, difference, step
from engine.model.adapter_switch import AdapterSwitch, switch_of
from engine.model.answers.token_stream import TokenStream
from engine.model.protocols import LanguageModel
from engine.objectives.heads import by_trl, put_on_trl_head
from engine.sessions.playground import Prompt, Settings, Side

_CAP = 3.0
"""Lower than Gemma 4's 30, which the logits of a tiny model never come near."""


@check(
    "KV sharing with and without cache",
    limit=2e-3,
    advice="Do not train Gemma 4 E2B or E4B here; install the tested versions: without a cache "
    "the last layers see no keys and values",
    is_fast=True,
)
def kv_sharing(specimens: Specimens) -> Measurement:
    """Log-probabilities of an answer in the training step against those of the playground."""
    return Measurement(max(_cache_difference(specimens, kind) for kind in SHARING))


def _cache_difference(specimens: Specimens, kind: str) -> float:
    gemma = specimens.gemma(kind)
    own_template = template_of(gemma)
    question, text = max(QUESTIONS, key=lambda pair: len(pair[1]))
    turns = (Turn("user", question), Turn("assistant", text))
    (row,) = tokenize(gemma.tokenizer, own_template, [turns], "last", 128)
    answer = [label for label in row.labels if label != IGNORED]
    trial = Trial(gemma, [alone(row)])
    model = trial.model.eval()
    put_on_trl_head(model)
    with torch.no_grad():
        batch = trial.batch()
        outputs = model(**batch, use_cache=False, fused_lm_head=True)
        trained = outputs.log_probs[batch["labels"][:, 1:] != IGNORED].tolist()
    switch = switch_of(model, gemma.tokenizer, own_template, gemma.dtype)
    prompt = Prompt(1, Side.ADAPTER, (("user", question),), Settings(temperature=0.0))
    stream = DictatedStream(prompt, switch, answer)
    while not stream.reason:
        stream.step()
    pairs = zip(trained[: len(stream.log_probs)], stream.log_probs, strict=True)
    return max(abs(left - right) for left, right in pairs)


class DictatedStream(TokenStream):
    """Answers as it is dictated, and keeps the log-probability of each token."""

    def __init__(self, prompt: Prompt, switch: AdapterSwitch, answer: list[int]) -> None:
        super().__init__(prompt, switch)
        self.log_probs: list[float] = []
        self._rest: Iterator[int] = iter(answer)
        self._sample = self._dictate

    def _dictate(self, logits: torch.Tensor) -> int:
        """The next dictated token, for logits (vocabulary,)."""
        token = next(self._rest)
        self.log_probs.append(float(logits.log_softmax(-1)[token]))
        return token


@check(
    "soft cap applied by the fused head",
    limit=1e-3,
    advice="Do not train here; install the tested versions: the loss is of other logits than the "
    "model answers with, or of other tokens than carry loss",
    is_fast=True,
)
def soft_cap(specimens: Specimens) -> Measurement:
    """The loop's loss, and TRL's, against cross-entropy over all logits of transformers' own."""
    gemma = specimens.gemma("embedded")
    config = gemma.model.config.get_text_config()
    config.final_logit_softcapping = _CAP
    recorded, own = RecordedStep(), sequences(gemma)
    trial = Trial(gemma, own, recorded, per_device_train_batch_size=len(own))
    put_on_trl_head(trial.model)
    batch = trial.batch()
    capped = _cross_entropy(trial.model, batch)
    config.final_logit_softcapping = None
    uncapped = _cross_entropy(trial.model, batch)
    config.final_logit_softcapping = _CAP
    with torch.no_grad():
        scores = by_trl(trial.model, batch)
    trial.train()
    losses = (recorded.losses[0], float(scores.loss / scores.supervised))
    effect = abs(capped - uncapped)
    is_blind = not effect > 0.1
    figure = math.inf if is_blind else max(abs(loss - capped) for loss in losses)
    supervised = int((batch["labels"][:, 1:] != IGNORED).sum())
    text = f"Without the cap the loss would be {effect:.2g} off"
    if int(scores.supervised) != supervised:
        text = f"TRL's head scores {int(scores.supervised)} tokens; {supervised} carry loss"
    return Measurement(figure, text)


def _cross_entropy(model: LanguageModel, batch: dict[str, torch.Tensor]) -> float:
    """The mean over supervised tokens, from all logits; ids and labels are (batch, length)."""
    with torch.no_grad():
        outputs = model(
            input_ids=batch["input_ids"], position_ids=batch["position_ids"], use_cache=False
        )
    logits, labels = outputs.logits[:, :-1], batch["labels"][:, 1:]
    loss = torch.nn.functional.cross_entropy(
        logits.flatten(0, 1).float(), labels.flatten(), ignore_index=IGNORED
    )
    return float(loss)


@check(
    "host tables equal device tables",
    limit=0,
    advice="Set model.host_tables = false and install the tested versions: rows that come from "
    "host memory are not those of the tokens",
)
def host_tables(specimens: Specimens) -> Measurement:
    """Loss and gradients of two micro-batches with per-layer embeddings here and there."""
    return Measurement(
        max(
            difference(*(_step(specimens, kind, on_host) for on_host in (False, True)))
            for kind in TABLES
        )
    )


def _step(specimens: Specimens, kind: str, on_host: bool) -> RecordedStep:
    gemma = specimens.gemma(kind, host_tables=on_host)
    batches = {"per_device_train_batch_size": 2, "gradient_accumulation_steps": 2}
    return step(gemma, sequences(gemma), **batches)
