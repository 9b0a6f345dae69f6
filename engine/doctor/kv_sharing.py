"""Whether shared keys and values are the same in training, without a cache, and in generation."""

from collections.abc import Iterator

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from engine.data.batches import alone
from engine.data.conversation import Turn
from engine.data.template import template
from engine.data.tokens import IGNORED, tokenize
from engine.doctor.check import Measured, check
from engine.doctor.specimens import QUESTIONS, SHARING, Specimens
from engine.doctor.trial import Trial
from engine.gemma.config import dialect_of
from engine.model.adapter_switch import AdapterSwitch
from engine.model.token_stream import TokenStream
from engine.objectives.heads import put_on_trl_head
from engine.sessions.playground import Asked, Settings


class Dictated(TokenStream):
    """Says what it is told to, and keeps the log-probability of each token."""

    def __init__(self, asked: Asked, adapted: AdapterSwitch, answer: list[int]) -> None:
        super().__init__(asked, adapted)
        self.log_probs: list[float] = []
        self._rest: Iterator[int] = iter(answer)
        self._sample = self._dictate

    def _dictate(self, scores: torch.Tensor) -> int:
        token = next(self._rest)
        self.log_probs.append(float(scores.log_softmax(-1)[token]))
        return token


@check(
    "KV sharing with and without cache",
    limit=2e-3,
    advice="Do not train Gemma 4 E2B or E4B here; install the tested versions: without a cache "
    "the last layers see no keys and values",
    is_fast=True,
)
def kv_sharing(specimens: Specimens) -> Measured:
    """Log-probabilities of an answer in the training step against those of the playground."""
    return Measured(max(_difference(specimens, kind) for kind in SHARING))


def _difference(specimens: Specimens, kind: str) -> float:
    gemma = specimens.gemma(kind)
    chosen = template(dialect_of(gemma.model.config.to_dict()))
    question, said = max(QUESTIONS, key=lambda pair: len(pair[1]))
    talk = (Turn("user", question), Turn("assistant", said))
    (row,) = tokenize(gemma.tokenizer, chosen, [talk], "last", 128)
    answer = [label for label in row.labels if label != IGNORED]
    trial = Trial(gemma, [alone(row)])
    model = trial.model.eval()
    put_on_trl_head(model)
    with torch.no_grad():
        outputs = model(**trial.batch(), use_cache=False, fused_lm_head=True)
        trained = outputs.log_probs[outputs.label_mask].tolist()
    layers = tuple(layer for layer in model.modules() if isinstance(layer, BaseTunerLayer))
    adapted = AdapterSwitch(model, gemma.tokenizer, chosen, gemma.dtype, layers)
    asked = Asked(1, "adapter", (("user", question),), Settings(temperature=0.0))
    speech = Dictated(asked, adapted, answer)
    while not speech.reason:
        speech.step()
    pairs = zip(trained[: len(speech.log_probs)], speech.log_probs, strict=True)
    return max(abs(left - right) for left, right in pairs)
