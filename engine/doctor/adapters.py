"""Checks of adapters: where they sit, and whether they come back as they were saved."""

import math
from pathlib import Path
from tempfile import mkdtemp

import torch
from peft.tuners.tuners_utils import BaseTunerLayer

from engine.doctor.check import Measurement, check
from engine.doctor.specimens import KINDS, SHARING, Specimens, sequences, template_of
from engine.doctor.trial import ADAPTER, Trial
from engine.gemma.lora_targets import HEAD, PER_LAYER_TABLE, TOKEN_TABLE
from engine.model import lora
from engine.model.adapter_switch import attach, read
from engine.model.protocols import LanguageModel
from engine.problems import Refusal
from engine.recipe import validate as recipe_check
from engine.run.adapters import Adapter
from engine.run.rundir import RunDir
from engine.train.saving.final_adapter import save_adapter

_TABLES = (TOKEN_TABLE, HEAD, PER_LAYER_TABLE)


@check(
    "tied-embedding LoRA refused",
    limit=0,
    advice="Leave embed_tokens and lm_head out of adapter.target_modules: an adapter there "
    "merges wrongly",
    is_fast=True,
)
def tied_embedding_refused(specimens: Specimens) -> Measurement:
    """Count tied tables that a recipe may name, or that the engine would adapt."""
    model = specimens.gemma("embedded").model
    let_through = [f"a recipe with {name}" for name in _TABLES if _passes_in_recipe(name)]
    let_through += [f"an adapter on {name}" for name in _TABLES if _is_adapted(model, name)]
    return Measurement(len(let_through), ", ".join(let_through))


def _passes_in_recipe(name: str) -> bool:
    problems = recipe_check.problems({"adapter": {"target_modules": [name]}}, on_paper=True)
    return not any(problem.key == "adapter.target_modules" for problem in problems)


def _is_adapted(model: LanguageModel, name: str) -> bool:
    try:
        return bool(lora.target_modules(model, (name,)))
    except ValueError:
        return False


@check(
    "adapter targets",
    limit=0,
    advice="Install the tested versions: the adapter would touch a vision or audio tower, a "
    "lookup table or a router, or leave out a layer",
)
def adapter_targets(specimens: Specimens) -> Measurement:
    """Count modules adapted that should not be, and those left out, over all architectures."""
    wrong: list[str] = []
    for kind in KINDS:
        model = specimens.gemma(kind, has_towers=True).model
        names = {id(module): name for name, module in model.named_modules()}
        expected = _projections(model)
        adapted = {
            id(module.get_base_layer())
            for module in lora.attach(model, ADAPTER, 0).modules()
            if isinstance(module, BaseTunerLayer)
        }
        wrong += [names.get(each, "a module that was not there") for each in expected ^ adapted]
    return Measurement(len(wrong), ", ".join(sorted(wrong)[:3]))


def _projections(model: LanguageModel) -> set[int]:
    """Every projection of attention and MLP in the decoder's layers, by identity."""
    return {
        id(projection)
        for layer in model.get_decoder().layers
        for block in (layer.self_attn, layer.mlp)
        for name in ADAPTER.target_modules
        if (projection := getattr(block, name, None)) is not None
    }


@check(
    "adapter reload equals adapter trained",
    limit=1e-5,
    advice="Install the tested versions, and do not rely on saved adapters: they lose weights",
)
def adapter_reload(specimens: Specimens) -> Measurement:
    """Logits of a trained model against those of a fresh base with the saved adapter."""
    try:
        return Measurement(max(_reload_difference(specimens, kind) for kind in SHARING))
    except Refusal as refusal:
        return Measurement(math.inf, refusal.problems[0].reason)


def _reload_difference(specimens: Specimens, kind: str) -> float:
    gemma, fresh = specimens.gemma(kind), specimens.gemma(kind)
    own = sequences(gemma)
    ids = torch.tensor([own[0].input_ids], device=gemma.device)
    base = _logits(gemma.model, ids)
    trial = Trial(gemma, own, max_steps=2, warmup_steps=0.0)
    trial.train()
    trained = _logits(trial.model, ids)
    run = RunDir(Path(mkdtemp(dir=specimens.folder)))
    save_adapter(run, trial.model)
    weights = read(Adapter("adapter", None, run.adapter), specimens.choice(kind))
    switch = attach(fresh, template_of(fresh), weights)
    with switch.use("adapter"):
        reloaded = _logits(switch.model, ids)
    is_blind = float((trained - base).abs().max()) < 1e-2
    return math.inf if is_blind else float((trained - reloaded).abs().max())


def _logits(model: LanguageModel, ids: torch.Tensor) -> torch.Tensor:
    """Token ids (batch, length) to logits (batch, length, vocabulary) in the model's type."""
    model.eval()
    with torch.no_grad():
        logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits
    return logits


@check(
    "dropout in training alone",
    limit=0.05,
    advice="Set adapter.lora_dropout = 0.0, and install the tested versions",
)
def dropout_in_training(specimens: Specimens) -> Measurement:
    """What dropout lets through to A in a step and in an answer, against all and against half.

    The limit is ten standard deviations of a share of 12,000 numbers.
    """
    gemma = specimens.gemma("gemma3")
    half = ADAPTER.model_copy(update={"lora_dropout": 0.5})
    trial = Trial(gemma, sequences(gemma), adapter=half, per_device_train_batch_size=4)
    pairs: list[tuple[torch.Tensor, torch.Tensor]] = []
    layer = trial.model.get_base_model().get_decoder().layers[0].mlp.up_proj
    layer.lora_dropout["default"].register_forward_hook(
        lambda module, args, output: pairs.append((args[0].detach(), output.detach()))
    )
    trial.train()
    _logits(trial.model, trial.batch()["input_ids"])
    (inputs, dropped), *answers = pairs
    let_through = dropped != 0
    errors = {
        "dropout acts on answers and held-out rows too": max(
            float((one != other).float().mean()) for one, other in answers or [(inputs, dropped)]
        ),
        "dropout lets through another share than the recipe says": abs(
            float(let_through.float().mean()) - 0.5
        ),
        "what dropout lets through is not scaled up by its share": float(
            (dropped / inputs / 2 - 1)[let_through & (inputs != 0)].abs().mean()
        ),
    }
    worst = max(errors, key=lambda text: errors[text])
    return Measurement(errors[worst], worst[0].upper() + worst[1:])
