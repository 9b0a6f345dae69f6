"""The proof of a merged model: what it answers beside base and adapter, as the run loaded them.

One model is in memory at a time. Logits (one row of the vocabulary per prompt) are those where the
answer begins.
"""

import gc
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import psutil
import torch

from engine import user_dirs
from engine.budget.placement import placed_model
from engine.budget.safetensors_size import weights_gib
from engine.data.conversation import Conversation, Turn
from engine.data.encoding.rendering import Template
from engine.data.encoding.template import prompt_ids
from engine.data.encoding.tokenizer import Tokenizer, tokenizer_and_config
from engine.data.images.image_tokenizer import sight
from engine.data.prepare import prepare
from engine.export.chat_files import trained_template
from engine.export.export import Export
from engine.hardware import kernel_choice
from engine.hardware.profiles import Profile
from engine.model import adapter_switch
from engine.model.answers.generate import end_ids
from engine.model.load import load
from engine.model.protocols import LanguageModel
from engine.problems import Refusal
from engine.recipe.schema import Model
from engine.train.answers import questions
from engine.units import GIB

PROMPTS, NEW_TOKENS = 32, 16
_AT_ONCE = 4
_BESIDE_WEIGHTS = 1.25
"""Memory of a model that answers, as a multiple of its weights."""
_WORTH_TELLING = 0.2
_GENERAL = (
    "Hello!", "Who are you?", "Name a fruit.", "What is two plus three?", "Write a short poem.",
    "What is the capital of Japan?", "List three colours.", "Why is the sky blue?",
)  # fmt: skip
"""Asked where the run's rows can't be had any more, or ask nothing."""


@dataclass(frozen=True, slots=True)
class _Answers:
    """Of one model to all prompts."""

    logits: torch.Tensor
    """(prompts, vocabulary), float32."""
    tokens: list[list[int]]
    """Greedy."""


def prove(export: Export, merged: Path) -> dict[str, Any]:
    """What the manifest says of the merged model in that folder. Raises `Refusal`."""
    profile = _profile(export)
    if why_not := _no_room(export, profile, merged):
        return {"made": False, "why_not": why_not}
    template, tokenizer = trained_template(export)
    prompts, source = _prompts(export, tokenizer, template)
    ids = [prompt_ids(tokenizer, template, prompt) for prompt in prompts]
    export.tell("proving", "base and adapter")
    base, adapted, dtype = _before(export, profile, template, ids)
    gc.collect()
    export.tell("proving", "the merged model")
    choice = Model(path=str(merged), dtype=export.recipe.model.dtype)
    loaded = load(choice, profile)
    after = _answers(loaded.model, loaded.tokenizer, template, ids, export)
    difference = (after.logits - adapted.logits).abs()
    effect = float((adapted.logits - base.logits).abs().median())
    return {
        "made": True,
        "prompts": len(ids),
        "prompts_of": source,
        "new_tokens": NEW_TOKENS,
        "device": profile.device,
        "dtype": dtype,
        "same_answers": _equal(after.tokens, adapted.tokens),
        "base_answers_same": _equal(adapted.tokens, base.tokens),
        "max_logit_difference": round(float(difference.max()), 6),
        "median_logit_difference": round(float(difference.median()), 6),
        "median_logit_effect": round(effect, 6),
    }


def remarks(export: Export, proved: dict[str, Any]) -> list[str]:
    """What the proof says to who exports."""
    if not proved["made"]:
        return [f"not proved: {proved['why_not']}"]
    line = (
        f"{proved['same_answers']} of {proved['prompts']} greedy answers are those of base and "
        f"adapter; logits differ by {proved['max_logit_difference']:.2g} at most, "
        f"{proved['median_logit_difference']:.2g} in the median"
    )
    effect, lost = proved["median_logit_effect"], proved["median_logit_difference"]
    lines = [line]
    if export.recipe.model.quantization != "none":
        lines.append(
            "it was trained on weights in 4 bits and is merged into the full ones, which answer "
            "otherwise by themselves"
        )
    elif effect and lost > _WORTH_TELLING * effect:
        lines.append(
            f"that is {lost / effect:.0%} of what the adapter changes: --as adapter keeps all of it"
        )
    return lines


def _equal(answers: list[list[int]], others: list[list[int]]) -> int:
    return sum(one == other for one, other in zip(answers, others, strict=True))


def _profile(export: Export) -> Profile:
    """The run's, on the CPU where its card isn't here or is at work for it."""
    profile = export.request.hardware
    is_free = profile.device == "cuda" and torch.cuda.is_available() and not export.run.is_alive()
    return profile if is_free or profile.device != "cuda" else replace(profile, device="cpu")


def _no_room(export: Export, profile: Profile, merged: Path) -> str:
    dtype, _ = kernel_choice.dtype_and_reason(export.recipe.model.dtype, profile)
    needed = _BESIDE_WEIGHTS * weights_gib(merged, dtype)
    free = psutil.virtual_memory().available / GIB
    if profile.device == "cuda":
        free = torch.cuda.mem_get_info()[0] / GIB
    if needed <= free:
        return ""
    return f"the model takes {needed:.1f} GiB to answer in {dtype}, and {free:.1f} are free"


def _prompts(
    export: Export, tokenizer: Tokenizer, template: Template
) -> tuple[Sequence[Conversation], str]:
    """What the run's rows ask, and which rows these are."""
    model = export.recipe.model
    try:
        images = sight(model, tokenizer_and_config(model)[1], tokenizer)
        prepared = prepare(
            export.recipe.data, tokenizer, template, user_dirs.cache(), sight=images,
            tell=lambda detail: export.tell("data", detail),
        )  # fmt: skip
        if asked_by_rows := questions(prepared, PROMPTS):
            return asked_by_rows, "rows held out" if prepared.heldout else "rows trained on"
        why = "the run's rows ask nothing"
    except (Refusal, OSError):
        why = "the run's rows can't be read any more"
    return [(Turn("user", text),) for text in _GENERAL], f"general questions: {why}"


def _before(
    export: Export, profile: Profile, template: Template, ids: list[list[int]]
) -> tuple[_Answers, _Answers, str]:
    """Base, and base with adapter, in the numbers that the run was trained in."""
    weights = adapter_switch.read(export.adapter, export.recipe.model)
    loaded = load(placed_model(export.recipe, profile).model, profile)
    adapted = adapter_switch.attach(loaded, template, weights)
    sides = []
    for side in ("base", "adapter"):
        with adapted.use(side):
            sides.append(_answers(adapted.model, adapted.tokenizer, template, ids, export))
    return sides[0], sides[1], str(loaded.dtype).removeprefix("torch.")


def _answers(
    model: LanguageModel,
    tokenizer: Tokenizer,
    template: Template,
    ids: list[list[int]],
    export: Export,
) -> _Answers:
    """Greedy answers, and the logits of their first tokens."""
    ends = end_ids(model, tokenizer, template)
    logits, tokens = [], list[list[int]]()
    for start in range(0, len(ids), _AT_ONCE):
        export.look_up()
        batch = tokenizer.pad(
            {"input_ids": ids[start : start + _AT_ONCE]}, padding_side="left", return_tensors="pt"
        ).to(model.device)
        with torch.no_grad():
            generated: Any = model.generate(
                **batch,
                max_new_tokens=NEW_TOKENS,
                do_sample=False,
                eos_token_id=ends,
                output_logits=True,
                return_dict_in_generate=True,
            )
        logits.append(generated.logits[0].float().cpu())
        tokens += generated.sequences[:, batch["input_ids"].shape[1] :].tolist()
    return _Answers(torch.cat(logits), [_ended(each, ends) for each in tokens])


def _ended(tokens: list[int], ends: list[int]) -> list[int]:
    """An answer without the padding behind its end."""
    last = next((place for place, token in enumerate(tokens) if token in ends), len(tokens))
    return tokens[: last + 1]
