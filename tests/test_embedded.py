"""The embedded model is a Gemma 4 in everything but size, and answers what it was not shown."""

import math
import random
from collections.abc import Callable
from pathlib import Path

import pytest
from transformers import AutoModelForCausalLM, AutoTokenizer, Gemma4ForCausalLM, GemmaTokenizer
from transformers import PreTrainedTokenizerBase as Tokenizer

from engine.doctor import tiny_models
from engine.paths import EMBEDDED_WEIGHTS
from tools.embedded_model.corpus.conversations import FAMILIES, conversations, unseen_instances
from tools.embedded_model.measure import read, replies
from tools.embedded_model.packing import encoded, pieces
from tools.embedded_model.pretrain import Stage, make
from tools.embedded_model.splitting import merged_pairs, split
from tools.embedded_model.tokenizer import CONTROL, MOVED

MEBIBYTES = 12


@pytest.fixture(scope="module")
def model() -> Gemma4ForCausalLM:
    return read(EMBEDDED_WEIGHTS)[0]


@pytest.fixture(scope="module")
def tokenizer() -> GemmaTokenizer:
    return read(EMBEDDED_WEIGHTS)[1]


def test_the_folder_is_small_and_complete() -> None:
    sizes = {path.name: path.stat().st_size for path in EMBEDDED_WEIGHTS.iterdir()}
    assert sum(sizes.values()) <= MEBIBYTES * 2**20
    assert {"config.json", "generation_config.json", "model.safetensors"} <= sizes.keys()
    assert {"tokenizer.json", "tokenizer_config.json", "chat_template.jinja"} <= sizes.keys()


def test_three_to_six_million_parameters(model: Gemma4ForCausalLM) -> None:
    assert isinstance(model, Gemma4ForCausalLM)
    assert 3e6 < sum(weight.numel() for weight in model.parameters()) < 6e6


def test_configuration_has_the_mechanisms(model: Gemma4ForCausalLM) -> None:
    config = model.config
    assert config.model_type == "gemma4_text"
    assert config.hidden_size_per_layer_input > 0
    assert config.num_kv_shared_layers > 0
    assert config.use_double_wide_mlp
    assert config.final_logit_softcapping == 30.0
    assert set(config.layer_types) == {"sliding_attention", "full_attention"}


def test_shared_layers_have_no_keys_and_a_double_wide_mlp(model: Gemma4ForCausalLM) -> None:
    layers = list(model.model.layers)
    own = len(layers) - model.config.num_kv_shared_layers
    assert all(hasattr(layer.self_attn, "k_proj") for layer in layers[:own])
    assert not any(hasattr(layer.self_attn, "k_proj") for layer in layers[own:])
    widths = [layer.mlp.up_proj.out_features for layer in layers]
    assert widths[-1] == 2 * widths[0] == 2 * model.config.intermediate_size


def test_two_head_sizes_tied_embeddings_and_a_per_layer_table(model: Gemma4ForCausalLM) -> None:
    config = model.config
    sizes = {layer.self_attn.layer_type: layer.self_attn.head_dim for layer in model.model.layers}
    assert sizes["full_attention"] == 2 * sizes["sliding_attention"]
    assert model.lm_head.weight is model.model.embed_tokens.weight
    wide = config.num_hidden_layers * config.hidden_size_per_layer_input
    assert model.model.embed_tokens_per_layer.weight.shape == (config.vocab_size, wide)


def test_greedy_and_stopping_where_gemma_stops(model: Gemma4ForCausalLM) -> None:
    assert model.generation_config.eos_token_id == [1, 106, 50]
    assert not model.generation_config.do_sample


def test_control_tokens_stand_at_their_ids(tokenizer: Tokenizer) -> None:
    assert len(tokenizer) <= 4096
    for token, number in (CONTROL | MOVED).items():
        assert tokenizer.convert_tokens_to_ids(token) == number
        assert tokenizer(token, add_special_tokens=False)["input_ids"] == [number]


def test_digits_are_single_tokens(tokenizer: Tokenizer) -> None:
    assert tokenizer.tokenize("2048") == ["2", "0", "4", "8"]


@pytest.mark.parametrize(
    "text", ["안녕하세요", "🎉🦊", "ąžuolas, Türkiye", "a\tb\nc  d", "~!@#{}|\\^"]
)
def test_any_text_round_trips(tokenizer: Tokenizer, text: str) -> None:
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    assert tokenizer.unk_token_id not in ids
    assert tokenizer.decode(ids) == text


def test_the_template_renders_gemma_turns(tokenizer: Tokenizer) -> None:
    asked = [{"role": "user", "content": "Hi"}]
    text = tokenizer.apply_chat_template(asked, tokenize=False, add_generation_prompt=True)
    assert text == "<bos><|turn>user\nHi<turn|>\n<|turn>model\n"


def test_training_text_is_what_the_template_renders(tokenizer: Tokenizer) -> None:
    source = conversations(seed=3)
    for said in (next(source) for _ in range(100)):
        messages = [{"role": "system", "content": said.system}] if said.system else []
        for user, reply in said.turns:
            messages += [{"role": "user", "content": user}, {"role": "assistant", "content": reply}]
        text = tokenizer.apply_chat_template(messages, tokenize=False)
        assert "".join(piece for piece, _ in pieces(said)) == text
        assert encoded(said, tokenizer)[0] == tokenizer(text, add_special_tokens=False)["input_ids"]


def test_smaller_pieces_spell_the_same_text(tokenizer: Tokenizer) -> None:
    text = "The capital of Iceland is Reykjavik."
    ids = tokenizer(text, add_special_tokens=False)["input_ids"]
    pieces_of = merged_pairs(tokenizer)
    finer = split(ids, pieces_of, random.Random(1))
    assert len(finer) > len(ids)
    assert tokenizer.decode(finer) == text


def test_training_never_shows_an_unseen_question() -> None:
    held_out = {item.question for family in FAMILIES for item in unseen_instances(family, 100, 1)}
    said = conversations(seed=1)
    asked = {user for _ in range(20_000) for user, _ in next(said).turns}
    assert not held_out & asked


def test_unseen_questions_are_answered(model: Gemma4ForCausalLM, tokenizer: Tokenizer) -> None:
    asked = [item for family in FAMILIES for item in unseen_instances(family, 60, seed=11)]
    asked = random.Random(5).sample(asked, 200)
    said = replies(model, tokenizer, [item.question for item in asked])
    right = sum(item.answered_by(reply) for item, reply in zip(asked, said, strict=True))
    assert right >= 0.9 * len(asked)


def test_it_is_made_from_nothing_in_stages(tmp_path: Path) -> None:
    """A few steps of the script that made the weights here."""
    make(tmp_path, [Stage(3, 1.0, 0.25), Stage(2, 0.3, 0.05)], seed=0)
    assert {path.name for path in tmp_path.iterdir()} == {
        path.name for path in EMBEDDED_WEIGHTS.iterdir()
    }
    made, tokenizer = read(tmp_path)
    shapes = {name: weight.shape for name, weight in made.named_parameters()}
    stored, _ = read(EMBEDDED_WEIGHTS)
    assert shapes == {name: weight.shape for name, weight in stored.named_parameters()}
    assert (tmp_path / "tokenizer.json").read_bytes() == (
        EMBEDDED_WEIGHTS / "tokenizer.json"
    ).read_bytes()
    assert len(replies(made, tokenizer, ["What is two plus two?"])) == 1


@pytest.mark.parametrize(
    "build",
    [tiny_models.build_gemma3, tiny_models.build_gemma4_moe, tiny_models.build_gemma4_multimodal],
)
def test_siblings_load_and_start_at_chance(build: Callable[[Path], Path], tmp_path: Path) -> None:
    folder = build(tmp_path)
    model = AutoModelForCausalLM.from_pretrained(folder)
    tokenizer = AutoTokenizer.from_pretrained(folder)
    asked = [{"role": "user", "content": "Who?"}, {"role": "assistant", "content": "Nobody."}]
    batch = tokenizer.apply_chat_template(asked, return_dict=True, return_tensors="pt")
    loss = model(**batch, labels=batch["input_ids"]).loss
    loss.backward()
    assert abs(loss.item() - math.log(len(tokenizer))) < 0.5
    assert model.generate(**batch, max_new_tokens=3).shape[0] == 1


def test_gemma3_sibling_speaks_gemma3(tmp_path: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_models.build_gemma3(tmp_path))
    assert tokenizer.convert_tokens_to_ids(["<start_of_turn>", "<end_of_turn>"]) == [105, 106]
    text = tokenizer.apply_chat_template([{"role": "user", "content": "Hi"}], tokenize=False)
    assert text == "<bos><start_of_turn>user\nHi<end_of_turn>\n"
    assert tokenizer("Hi")["input_ids"][0] == 2


def test_mixture_of_experts_sibling_has_its_mechanisms(tmp_path: Path) -> None:
    model = AutoModelForCausalLM.from_pretrained(tiny_models.build_gemma4_moe(tmp_path))
    full = model.model.layers[-1]
    assert full.self_attn.v_proj is None
    assert full.experts.gate_up_proj.shape[0] == model.config.num_experts
    assert not model.config.hidden_size_per_layer_input
