"""`gemma-bench doctor` on installs with a bug: each is found, and its advice names the cause."""

import json
import os
from pathlib import Path
from typing import Any

import pytest

from tests import command

ROOT = Path(__file__).parents[1]
SITE = """
import importlib
right = importlib.import_module
def planting(name, package=None):
    if name == "engine.jobs.doctor_job":
        right("tests.planted_bugs").plant("{bug}")
    return right(name, package)
importlib.import_module = planting
"""
"""Every interpreter imports it as it starts; the engine asks for its job by this name."""
FAST = [
    ("full_theta", "rope_theta", "full layers"),
    ("local_theta", "rope_theta", "sliding layers"),
    ("rotates_all", "rotary", "full layers"),
    ("rotary_scaling", "rotary", "gemma3"),
    ("interleaved_rotation", "rotary embeddings are applied wrongly", "float32"),
    ("query_scale", "query_pre_attn_scalar", "gemma3"),
    ("query_scale_of_gemma4", "query_pre_attn_scalar", "embedded"),
    ("embedding_scale", "token embeddings are not scaled by sqrt(hidden_size)", "Gemma 3"),
    ("embedding_scale_of_gemma4", "token embeddings are not scaled by sqrt", "embedded"),
    ("layer_embedding_scale", "per-layer embeddings are not scaled by sqrt", "embedded"),
    ("no_layer_inputs", "per-layer inputs are zero", "E2B"),
    ("layer_inputs_not_halved", "per-layer inputs are not the scaled sum", "E2B"),
    ("inputs_of_another_layer", "another layer's", "E2B"),
    ("no_shared_keys", "do not get the keys and values that earlier layers share", "E2B"),
    ("wider_window", "off by some tokens", "sliding layers"),
    ("no_window", "sliding window is lost", "sliding layers"),
    ("window_for_all", "full attention does not reach back", "full layers"),
    ("no_causality", "lets a token see those after it", "gemma3"),
    ("norm_without_one", "1 + weight", "Gemma 3"),
    ("norm_with_one", "Gemma 4 by weight", "Gemma 4 26B-A4B"),
    (
        "values_not_normed",
        "norm multiplies by other weights than the files say, or is left out",
        "v_norm",
    ),
    ("cap_lost_at_load", "final soft cap", "logits"),
    ("cap_lost_in_the_head", "the loss of training knows no final soft cap", "scored"),
    ("other_activation", "activation", "mlp"),
    ("exact_activation", "activation", "mlp"),
    ("router_weights_unnormalised", "router", "26B-A4B"),
    ("router_scale", "router", "26B-A4B"),
    ("one_expert", "router", "26B-A4B"),
    ("swapped_halves", "experts are wrong", "26B-A4B"),
    ("experts_in_another_order", "experts are wrong", "26B-A4B"),
    ("no_layer_scalar", "layer_scalar", "Gemma 4"),
    ("labels_shifted_twice", "labels are shifted twice", "float32"),
    ("labels_of_all", "every token carries loss", "float32"),
    ("positions_that_go_on", "rows that are packed go on", "float32"),
    ("mask_of_ones", "rows that are packed see each other", "float32"),
    ("no_line_break", "lack the line break after the end of a turn", "gemma3"),
    ("no_loss_on_the_end", "carry no loss on '<end_of_turn>'", "gemma3"),
    ("begin_twice", "hold the beginning of a sequence 2 times instead of 1", "gemma3"),
    ("users_supervised", "carry loss on", "gemma3"),
    ("no_clipping", "gradients are not clipped", "known step"),
    ("clipping_by_value", "clipped value by value", "known step"),
    ("decay_by_surprise", "weights decay by 0.01, which the recipe doesn't say", "known step"),
    ("trained_copies", "the optimizer holds copies", "known step"),
    ("scale_by_root", "scaled by lora_alpha / sqrt(r), not lora_alpha / r", "adapted"),
    ("backward_of_a", "backward pass", "gradients.lora_A"),
    ("another_head", "the output head is not the table of token embeddings", "lm_head"),
    ("heads_in_other_groups", "attention mixes other values", "26B-A4B"),
    ("queries_not_normed", "or is left out", "self_attn.q_norm"),
    ("layers_of_the_other_kind", "the pattern of sliding and full layers", "gemma3"),
    ("residual_of_the_norm", "a residual is not added", "gemma3"),
    ("last_of_a_batch_unscored", "the loss of training is not that of the model", "scored"),
    ("no_system", "instead of 'Answer in one'", "gemma3"),
    ("bytes_unknown", "begins '<unk><unk><unk>'", "gemma3"),
    ("trl_scores_every_token", "TRL's head scores", "soft cap applied by the fused head"),
    ("clipping_by_tensor", "clipped by its own norm, not by that of all", "known step"),
    ("clipping_after_the_step", "gradients are not clipped", "known step"),
    ("rank_instead_of_its_root", "lora_alpha / r, not lora_alpha / sqrt(r)", "known step"),
]
"""A bug, and two parts of the first finding that shows it."""
WHOLE = [
    ("swapped_nibbles", "4-bit weights are read as other numbers", "NF4"),
    ("scales_without_their_mean", "4-bit weights are read as other numbers", "nf4"),
    ("experts_of_the_next_number", "4-bit weights are read as other numbers", "26B|gemma4_moe"),
    ("bfloat16_products", "bfloat16", 'model.dtype = "float32"'),
    ("gelu_in_bfloat16", "adds more error than it should is layer.mlp.act_fn", "bfloat16"),
    ("norms_in_bfloat16", "adds more error than it should is", "norm"),
    ("angles_in_bfloat16", "adds more error than it should is rotary_emb", "bfloat16"),
    ("channels_reversed", "channels lie in another order", "pixels"),
    ("pixels_not_normalised", "pixels are scaled, normalised", "gemma3"),
    ("patches_by_columns", "patches and channels lie in another order", "gemma4"),
    ("no_positions", "position embeddings are not added", "gemma3"),
    ("positions_swapped", "position embeddings are not added to the patches, or", "gemma4"),
    ("no_positions_without_a_tower", "position embeddings are not added", "gemma4_unified"),
    ("axes_of_the_tower_swapped", "rotary embeddings turn by other angles", "vision_tower"),
    ("causal_tower", "attention in the vision tower is wrong", "gemma3"),
    ("bounds_lost", "not clipped to the bounds in the files", "gemma4"),
    ("pooled_by_columns", "patches are pooled to an image's tokens wrongly", "gemma4"),
    ("largest_of_patches", "patches are pooled to an image's tokens wrongly", "gemma3"),
    ("not_standardised", "std_bias and std_scale", "gemma4_large"),
    ("projector_not_normed", "projector's norm is left out", "gemma4"),
    ("projector_norm_without_one", "projector's norm is left out", "gemma3"),
    ("features_of_the_next_token", "features do not stand where its tokens are", "gemma3"),
    ("images_one_way", "their tokens see each other in both directions", "gemma3"),
    ("images_both_ways_everywhere", "nowhere else", "gemma4_large"),
    ("no_decay", "weights do not decay as the recipe says", "chain"),
    ("decay_in_the_gradient", "weight decay is added to the gradient", "chain"),
    ("other_betas", "betas are (0.9, 0.95)", "chain"),
    ("schedule_ahead", "schedule runs a step ahead", "chain"),
    ("no_schedule", "learning rate keeps to no schedule", "chain"),
    ("moments_lost", "a resumption forgets Adam's moments", "chain"),
    ("schedule_lost", "a resumption begins the learning rate's schedule anew", "chain"),
    ("moments_of_8_bits_lost", "Adam's moments are forgotten between steps", "8-bit"),
    ("betas_swapped", "betas are (0.999, 0.9)", "chain"),
    ("larger_epsilon", "epsilon is 1e-05, not 1e-08", "chain"),
    ("no_bias_correction", "not corrected for their start at zero", "chain"),
    ("decay_twice", "weight decay is taken twice", "chain"),
    ("decay_of_b_alone", "only B decays", "chain"),
    ("decay_without_the_rate", "weight decay is not scaled by the learning rate", "chain"),
    ("schedule_behind", "schedule runs a step behind", "chain"),
    ("no_warm_up", "warm-up of the learning rate is left out", "chain"),
    ("earlier_micro_batches_lost", "all micro-batches but the last are lost", "chain"),
    ("gradients_kept", "gradients of a step are not cleared before the next", "chain"),
    ("no_second_rate", "LoRA+ gives both halves of an adapter the same rate", "8-bit"),
    ("second_rate_for_a", "LoRA+ gives A the rate that is B's", "8-bit"),
    ("dora_is_lora", "magnitudes play no part", "DoRA"),
    ("norm_of_the_base", "divided by the norms of the base's rows", "DoRA"),
    ("gradient_through_the_norm", "gradients flow through the norm", "DoRA"),
    ("dropout_in_answers", "Dropout acts on answers and held-out rows too", "dropout"),
    ("no_dropout", "lets through another share than the recipe says", "dropout"),
    ("saved_in_bfloat16", "rounded to bfloat16 as it is saved", "chain"),
    ("scales_of_scales_lost", "4-bit weights are read as other numbers", "NF4"),
    ("larger_blocks", "4-bit weights are read as other numbers", "NF4"),
    ("numbers_of_fp4", "4-bit weights are read as other numbers", "NF4"),
    ("products_of_4_bits_in_bfloat16", "bnb_4bit_compute_dtype", "NF4"),
    ("quantised_from_bfloat16", "rounded before they were stored in 4 bits", "NF4"),
]
"""Those that the checks before a run are too short for."""
SHOWN_BY = {
    "golden tokens": "no_line_break",
    "golden figures in float32": "full_theta",
    "golden figures in bfloat16": "bfloat16_products",
    "golden figures in NF4": "swapped_nibbles",
    "NF4 products against their weights": "swapped_nibbles",
    "golden figures of images": "images_one_way",
    "known step": "no_clipping",
    "known chain of steps": "schedule_lost",
    "known steps of 8-bit AdamW": "moments_of_8_bits_lost",
}
"""A bug above that a check has to find."""


OF_EACH_KIND = {
    "query_scale_of_gemma4", "embedding_scale", "no_layer_inputs", "no_shared_keys", "no_window",
    "norm_without_one", "cap_lost_at_load", "other_activation", "one_expert", "swapped_halves",
    "no_layer_scalar", "labels_shifted_twice", "users_supervised", "trained_copies",
    "rank_instead_of_its_root", "backward_of_a", "another_head", "layers_of_the_other_kind",
    "trl_scores_every_token", *SHOWN_BY.values(),
}  # fmt: skip
"""Planted at every push, since a doctor takes seconds; `bench/nightly/plants.py` plants all."""


def of_today(rows: list[tuple[str, str, str]]) -> list[Any]:
    """All bugs by night, else one of each kind."""
    is_night = "GEMMA_BENCH_EVERY_PLANT" in os.environ
    return [pytest.param(*row, id=row[0]) for row in rows if is_night or row[0] in OF_EACH_KIND]


def in_a_new_interpreter(folder: Path, monkeypatch: pytest.MonkeyPatch, bug: str) -> None:
    """Plant a bug into engines that start as they do for users."""
    planted = folder / "planted"
    planted.mkdir()
    (planted / "sitecustomize.py").write_text(SITE.format(bug=bug))
    path = os.pathsep.join([str(planted), str(ROOT), os.environ.get("PYTHONPATH", "")])
    monkeypatch.setenv("PYTHONPATH", path)


def first_failure(
    folder: Path, monkeypatch: pytest.MonkeyPatch, bug: str, *options: str
) -> dict[str, str]:
    """What the real command says first about an install with a bug, after its versions."""
    if bug == FAST[0][0]:
        in_a_new_interpreter(folder, monkeypatch, bug)
    else:
        monkeypatch.setenv("GEMMA_BENCH_PLANTED_BUG", bug)
    monkeypatch.setenv("XDG_DATA_HOME", str(folder / "data"))
    code, out, err = command.call(folder, "doctor", "--json", *options)
    assert (code, err) == (1, "")
    failed = [check for check in json.loads(out)["checks"] if not check["passed"]]
    cause = failed[0]["advice"].partition(". What other checks")[0]
    for check in failed:
        assert cause in check["advice"], f"{check['name']} speaks of something else"
    wanted = {name for name, shown in SHOWN_BY.items() if shown == bug}
    assert wanted <= {check["name"] for check in failed}
    return failed[0]


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "cause", "place"), of_today(FAST))
def test_the_fast_doctor_names_the_cause(
    bug: str, cause: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = first_failure(tmp_path, monkeypatch, bug, "--fast")
    assert cause in finding["advice"]
    assert place in f"{finding['name']} {finding['advice']}"


@pytest.mark.slow
@pytest.mark.parametrize(("bug", "cause", "place"), of_today(WHOLE))
def test_the_whole_doctor_names_the_cause(
    bug: str, cause: str, place: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    finding = first_failure(tmp_path, monkeypatch, bug)
    assert cause in finding["advice"]
    assert any(one in f"{finding['name']} {finding['advice']}" for one in place.split("|"))
