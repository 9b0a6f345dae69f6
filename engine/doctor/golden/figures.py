"""What a tiny Gemma computes on rows of fixed tokens, in figures small enough to be shipped."""

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from itertools import pairwise
from typing import Any

import torch

from engine.data.batches import TokenSequences, pack
from engine.data.encoding.tokens import IGNORED, Tokens
from engine.doctor.golden.seeded_weights import signs, uniform
from engine.doctor.trial import ADAPTER, RecordedStep, Trial
from engine.gemma.lora_targets import HEAD
from engine.model.load import Loaded
from engine.model.protocols import AdaptedModel, LanguageModel
from engine.recipe.schema import Adapter

_LOGITS = 4
ROTARY = "rotary_emb"


@dataclass(frozen=True, slots=True)
class Figures:
    """Of one model in one number format."""

    loss: float
    """Mean negative log-likelihood of the rows, in nats per supervised token, without adapter."""
    scored: float
    """The same as the training loop's objective scores it."""
    adapted: float
    """The same with a seeded adapter, as the loop tells it."""
    gradients: dict[str, float]
    """Norms of that step's gradients, of all A and of all B."""
    logits: list[float]
    """Of the last token of the longest row, for the first few entries of the vocabulary."""
    stages: dict[str, list[list[float]]]
    """By module, in the order in which they end: a projection and a root mean square per span."""


def measured(gemma: Loaded, rows: Sequence[Tokens], adapter: Adapter = ADAPTER) -> Figures:
    """All figures of a model that was loaded as a run loads it; it has an adapter afterwards.

    The first row is the longest. It is trained on beside the others, which are packed.
    """
    with _stages(gemma.model, len(rows[0].ids)) as stages:
        logits = [logits_of(gemma.model, rows[0].ids)]
    logits += [logits_of(gemma.model, row.ids) for row in rows[1:]]
    recorded = RecordedStep()
    batch_rows = packed(rows)
    trial = Trial(gemma, batch_rows, recorded, adapter=adapter, per_device_train_batch_size=2)
    fill_adapter(trial.model, with_update=False)
    batch = trial.batch()
    state = trial.state
    with torch.no_grad():
        total = state.objective.loss(state.score, batch).total
    scored = float(total / state.objective.weight(batch))
    fill_adapter(trial.model, with_update=True)
    trial.train()
    return Figures(
        mean_loss(logits, [row.labels for row in rows], shift=1),
        scored,
        recorded.losses[0],
        {half: _norm(recorded.gradients, half) for half in ("lora_A", "lora_B")},
        logits[0][-1, :_LOGITS].tolist(),
        stages,
    )


def packed(rows: Sequence[Tokens]) -> TokenSequences:
    """The first row, and all others in one sequence."""
    return pack(rows, len(rows[0].ids))


@torch.no_grad()
def logits_of(model: LanguageModel, ids: list[int], **inputs: object) -> torch.Tensor:
    """Of one row: (length, vocabulary), in float64."""
    tokens = torch.tensor([ids], device=model.device)
    return model(input_ids=tokens, use_cache=False, **inputs).logits[0].double().cpu()


def mean_loss(logits: Sequence[torch.Tensor], rows: Sequence[list[int]], shift: int) -> float:
    """By logits of each token and the label that stands `shift` tokens after it."""
    total, count = 0.0, 0
    for row_logits, row in zip(logits, rows, strict=True):
        labels = torch.tensor(row[shift:])
        is_supervised = labels != IGNORED
        places = row_logits[: len(labels)][is_supervised]
        scores = places.log_softmax(-1).gather(-1, labels[is_supervised, None])
        total, count = total - float(scores.sum()), count + len(scores)
    return total / count


def fill_adapter(model: AdaptedModel, *, with_update: bool) -> None:
    """Give an adapter seeded weights; B is zero where there is to be no update yet."""
    for name, parameter in model.named_parameters():
        if "lora_" in name:
            bound = 1.0 if "lora_A" in name else 0.5 if with_update else 0.0
            numbers = uniform(name.replace("language_model.", ""), tuple(parameter.shape))
            parameter.data.copy_(numbers * bound / parameter.shape[-1] ** 0.5)


def _norm(gradients: Mapping[str, torch.Tensor], half: str) -> float:
    parts = [float(each.double().norm()) for name, each in gradients.items() if half in name]
    return sum(part**2 for part in parts) ** 0.5


@contextmanager
def _stages(model: LanguageModel, length: int) -> Iterator[dict[str, list[list[float]]]]:
    """Fill a dictionary with the stages of the forward pass that is made meanwhile."""
    decoder = model.get_decoder()
    window = decoder.config.sliding_window
    stages: dict[str, list[list[float]]] = {}

    def hear(name: str, args: Any, kwargs: Any, output: Any) -> None:
        # Once for each kind of layers.
        stage = f"{name}.{args[2]}" if name == ROTARY else name
        stages[stage] = spans_of(output, length, (1, window, length))

    modules = {name: each for name, each in decoder.named_modules() if is_stage(name)}
    with listening({**modules, HEAD: getattr(model, HEAD)}, hear):
        yield stages


@contextmanager
def listening(
    modules: Mapping[str, torch.nn.Module], hear: Callable[[str, Any, Any, Any], None]
) -> Iterator[None]:
    """Hear the name, arguments and output of each module as it ends."""

    def hook_of(name: str) -> Any:
        return lambda module, args, kwargs, output: hear(name, args, kwargs, output)

    handles = [
        module.register_forward_hook(hook_of(name), with_kwargs=True)
        for name, module in modules.items()
    ]
    try:
        yield
    finally:
        for handle in handles:
            handle.remove()


def is_stage(name: str) -> bool:
    """Whether a module of the decoder is compared, by its name there."""
    is_adapters = ".lora_" in name or name.endswith("base_layer")
    return not (name in ("", "layers") or name.endswith("act_fn") or is_adapters)


def tensor_of(output: Any) -> torch.Tensor:
    """The part of a module's output that says what it did; of a router's, how tokens are mixed."""
    if isinstance(output, torch.Tensor):
        return output
    parts = output.values() if isinstance(output, Mapping) else output
    tensors = [each for each in parts if isinstance(each, torch.Tensor)]
    if len(tensors) == 3:
        weights, experts = tensors[1:]
        return torch.zeros_like(tensors[0]).scatter_(-1, experts, weights.to(tensors[0].dtype))
    # Cosines and sines, or what attention gives and perhaps its scores.
    is_pair = len(tensors) == 2 and tensors[0].shape == tensors[1].shape
    return torch.cat(tensors, -1) if is_pair else tensors[0]


def spans_of(output: object, length: int, ends: Sequence[int]) -> list[list[float]]:
    """Projection on fixed signs and root mean square, for each span of a row's positions."""
    tensor = tensor_of(output).detach()
    axis = list(tensor.shape).index(length)
    values = tensor.movedim(axis, 0).reshape(length, -1).double().cpu()
    projected = values @ signs("features", values.shape[1])
    along = signs("positions", length)
    figures = []
    for first, last in pairwise((0, *ends)):
        size = (last - first) * values.shape[1]
        projection = float(projected[first:last] @ along[first:last]) / size**0.5
        figures.append([projection, float(values[first:last].norm()) / size**0.5])
    return figures
