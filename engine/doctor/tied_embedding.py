"""Whether adapters on tied embeddings are refused."""

from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens
from engine.model import lora
from engine.model.protocols import LanguageModel
from engine.recipe import validate as recipe_check

_TABLES = ("embed_tokens", "lm_head", "embed_tokens_per_layer")


@check(
    "tied-embedding LoRA refused",
    limit=0,
    advice="Leave embed_tokens and lm_head out of adapter.target_modules: an adapter there "
    "merges wrongly",
    is_fast=True,
)
def tied_embedding_refused(specimens: Specimens) -> Measured:
    """How many of the tables a recipe may name, or the engine would adapt."""
    model = specimens.gemma("embedded").model
    let_through = [f"a recipe with {name}" for name in _TABLES if _is_taken(name)]
    let_through += [f"an adapter on {name}" for name in _TABLES if _is_found(model, name)]
    return Measured(len(let_through), ", ".join(let_through))


def _is_taken(name: str) -> bool:
    problems = recipe_check.problems({"adapter": {"target_modules": [name]}}, on_paper=True)
    return not any(problem.key == "adapter.target_modules" for problem in problems)


def _is_found(model: LanguageModel, name: str) -> bool:
    try:
        return bool(lora.target_modules(model, (name,)))
    except ValueError:
        return False
