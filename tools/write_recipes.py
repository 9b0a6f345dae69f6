"""Write the recipes of all Gemmas from one table: `python -m tools.write_recipes`.

It also writes the schema of recipes, for editors that complete keys.
"""

import json
from dataclasses import dataclass
from string import Template

from engine.paths import RECIPE_SCHEMA, RECIPES
from engine.recipe.schema import Recipe

ROWS_IN_A_STEP = 16


@dataclass(frozen=True)
class GemmaRecipe:
    """One model on school maths: where it fits in 16 and in 4 bits, with how many rows at once."""

    title: str
    path: str
    lora: tuple[str, int]
    """Hardware profile, rows that go through the model at once."""
    qlora: tuple[str, int]
    learning_rate: str = "2e-4"
    tables_gib: float | None = None
    """Per-layer embeddings, where the model has some."""
    has_experts: bool = False


GEMMAS = (
    GemmaRecipe("Gemma 3 270M", "gemma-3-270m-it", ("rtx-3060-8gb", 8), ("rtx-3060-8gb", 8)),
    GemmaRecipe("Gemma 3 1B", "gemma-3-1b-it", ("rtx-3060-8gb", 8), ("rtx-3060-8gb", 8)),
    GemmaRecipe("Gemma 3 4B", "gemma-3-4b-it", ("rtx-3060-12gb", 2), ("rtx-3060-8gb", 4)),
    GemmaRecipe("Gemma 3 12B", "gemma-3-12b-it", ("rtx-5090", 4), ("rtx-3060-12gb", 1)),
    GemmaRecipe("Gemma 3 27B", "gemma-3-27b-it", ("a100-80gb", 4), ("rtx-3090", 2), "1e-4"),
    GemmaRecipe(
        "Gemma 4 E2B", "gemma-4-E2B-it", ("rtx-3060-8gb", 1), ("rtx-3060-8gb", 4), tables_gib=4.4
    ),
    GemmaRecipe(
        "Gemma 4 E4B", "gemma-4-E4B-it", ("rtx-4060-ti-16gb", 4), ("rtx-3060-8gb", 2),
        tables_gib=5.3,
    ),
    GemmaRecipe("Gemma 4 12B (unified)", "gemma-4-12B-it", ("rtx-5090", 4), ("rtx-3060-12gb", 1)),
    GemmaRecipe(
        "Gemma 4 26B-A4B", "gemma-4-26B-A4B-it", ("a100-80gb", 8), ("rtx-3090", 4), "1e-4",
        has_experts=True,
    ),
    GemmaRecipe("Gemma 4 31B", "gemma-4-31B-it", ("a100-80gb", 4), ("rtx-3090", 1), "1e-4"),
)  # fmt: skip
_TERMS = {"3": "Gemma's terms are accepted on its page on the hub.", "4": "Apache-2.0."}
_RATES = {
    "2e-4": "# 1e-4 to 2e-4 is usual for LoRA.\nlearning_rate = 2e-4",
    "1e-4": "# Large models bear less than small ones.\nlearning_rate = 1e-4",
}
_IN_4_BITS = """\
# Linear weights$and_experts are held in 4 bits, in blocks with a scale each.
quantization = "nf4"
"""
_TABLES = """\
# Per-layer embeddings, $gib GiB, stay in host memory on cards that a step fits so only.
host_tables = "auto"
"""
_ADAMW = """\
# AdamW as in PyTorch, which runs on every device.
optim = "adamw_torch\""""
_ADAMW_8BIT = """\
# Its state takes 2 bytes for each trained parameter instead of 8.
optim = "adamw_8bit\""""
_RECIPE = """\
#:schema recipe.schema.json
# $title on school maths: $method, with its weights in $bits bits.
# Fits --hardware $hardware.

[model]
# Instruction-tuned; $terms
path = "google/$path"
# bfloat16 where the hardware has it; float16 makes the gradients of Gemma overflow.
dtype = "auto"
$model_keys
[adapter]
# A pair of small matrices is trained beside each weight.
method = "lora"
# Rank of the update: 8 to 64 is usual.
r = 16
# The update is scaled by lora_alpha / r.
lora_alpha = 32
# A share of the update's inputs that is left out at random; helps where rows are few.
lora_dropout = 0.0
# Of the language model only: attention and MLP$experts.
target_modules = ["q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj"]

[data]
# 7,473 word problems with their solutions (MIT); a file of yours is { path = "rows.jsonl" }.
sources = [{ id = "openai/gsm8k", config = "main" }]
# Tokens a row may have; memory is reckoned for rows of this length.
max_length = 1024
# Loss on the assistant's words and the end of its turn only.
loss_on = "assistant"
# Order of the rows.
seed = 0

[training]
# Rows that go through the model at once; memory grows with them.
per_device_train_batch_size = $batch
# Passes to an optimizer step, 16 rows in all, weighted by their tokens.
gradient_accumulation_steps = $accumulation
$rate
# Falls along half a cosine, after it rose over the first steps.
lr_scheduler_type = "cosine"
# A share of all steps; 1 or more would be a count.
warmup_steps = 0.03
# Passes over all rows.
num_train_epochs = 1.0
$optimizer
# Computes activations again instead of keeping them: less memory, a third more time.
gradient_checkpointing = true
# Steps between checkpoints, and how many are kept.
save_steps = 100
save_total_limit = 2
# Of the adapter's first weights.
seed = 0

[samples]
# Answered by base and adapter before training, every so many steps, and at the end.
prompts = ["A shelf holds 24 books. How many books are on 7 such shelves if 9 are lent out?"]
every = 100
max_new_tokens = 256
"""


def text_of(gemma: GemmaRecipe, is_qlora: bool) -> str:
    """The TOML text of a model's recipe, with weights in 4 bits or in 16."""
    hardware, batch = gemma.qlora if is_qlora else gemma.lora
    keys = ""
    if is_qlora:
        experts = " and experts" if gemma.has_experts else ""
        keys += Template(_IN_4_BITS).substitute(and_experts=experts)
    if gemma.tables_gib:
        keys += Template(_TABLES).substitute(gib=gemma.tables_gib)
    return Template(_RECIPE).substitute(
        title=gemma.title,
        method="QLoRA" if is_qlora else "LoRA",
        bits=4 if is_qlora else 16,
        hardware=hardware,
        terms=_TERMS[gemma.path.split("-")[1]],
        path=gemma.path,
        model_keys=keys,
        experts="; experts stay as they are" if gemma.has_experts else "",
        batch=batch,
        accumulation=ROWS_IN_A_STEP // batch,
        rate=_RATES[gemma.learning_rate],
        optimizer=_ADAMW_8BIT if is_qlora else _ADAMW,
    )


def recipes() -> dict[str, str]:
    """File names of all recipes of the table, each with its text."""
    return {
        f"{gemma.path.lower().replace('gemma-', 'gemma').removesuffix('-it')}-{method}-sft.toml": (
            text_of(gemma, method == "qlora")
        )
        for gemma in GEMMAS
        for method in ("lora", "qlora")
    }


def schema_text() -> str:
    """The JSON schema of recipes with a description of their keys."""
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        **Recipe.model_json_schema(),
        "title": "A recipe of gemma-bench",
    }
    return json.dumps(schema, indent=2, ensure_ascii=False) + "\n"


if __name__ == "__main__":
    for name, text in recipes().items():
        (RECIPES / name).write_text(text, "utf-8")
    RECIPE_SCHEMA.write_text(schema_text(), "utf-8")
