"""Checks of adapters: where they sit."""

from peft.tuners.tuners_utils import BaseTunerLayer

from engine.doctor.check import Measured, check
from engine.doctor.specimens import KINDS, Specimens
from engine.doctor.trial import ADAPTER
from engine.gemma.lora_targets import HEAD, PER_LAYER_TABLE, TOKEN_TABLE
from engine.model import lora
from engine.model.protocols import LanguageModel
from engine.recipe import validate as recipe_check

_TABLES = (TOKEN_TABLE, HEAD, PER_LAYER_TABLE)


@check(
    "tied-embedding LoRA refused",
    limit=0,
    advice="Leave embed_tokens and lm_head out of adapter.target_modules: an adapter there "
    "merges wrongly",
    is_fast=True,
)
def tied_embedding_refused(specimens: Specimens) -> Measured:
    """Count tied tables that a recipe may name, or that the engine would adapt."""
    model = specimens.gemma("embedded").model
    let_through = [f"a recipe with {name}" for name in _TABLES if _passes_in_recipe(name)]
    let_through += [f"an adapter on {name}" for name in _TABLES if _is_adapted(model, name)]
    return Measured(len(let_through), ", ".join(let_through))


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
def adapter_targets(specimens: Specimens) -> Measured:
    """Count modules adapted that should not be, and those left out, over all architectures."""
    wrong: list[str] = []
    for kind in KINDS:
        model = specimens.gemma(kind, has_towers=True).model
        names = {id(module): name for name, module in model.named_modules()}
        wanted = _projections(model)
        adapted = {
            id(module.get_base_layer())
            for module in lora.attach(model, ADAPTER, 0).modules()
            if isinstance(module, BaseTunerLayer)
        }
        wrong += [names.get(each, "a module that was not there") for each in wanted ^ adapted]
    return Measured(len(wrong), ", ".join(sorted(wrong)[:3]))


def _projections(model: LanguageModel) -> set[int]:
    """Every projection of attention and MLP in the decoder's layers, by identity."""
    return {
        id(projection)
        for layer in model.get_decoder().layers
        for block in (layer.self_attn, layer.mlp)
        for name in ADAPTER.target_modules
        if (projection := getattr(block, name, None)) is not None
    }
