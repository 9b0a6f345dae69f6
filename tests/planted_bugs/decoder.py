"""Bugs of the decoder of Gemmas in transformers."""

from collections.abc import Callable
from typing import Any

import torch
from transformers import masking_utils
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gemma3 import modeling_gemma3 as gemma3
from transformers.models.gemma4 import modeling_gemma4 as gemma4

from engine.kernels import head
from tests.planted_bugs.planting import built, loaded, returned, rotary

FULL, SLIDING = "full_attention_inv_freq", "sliding_attention_inv_freq"


def full_theta() -> None:
    """The sliding layers' theta in the full ones."""
    rotary(lambda each: getattr(each, FULL).pow_(0.656))


def local_theta() -> None:
    """The full layers' theta in the sliding ones."""
    rotary(lambda each: getattr(each, SLIDING).pow_(1.525))


def rotates_all() -> None:
    """partial_rotary_factor is lost."""
    rotary(lambda each: getattr(each, FULL).clamp_(min=1e-2))


def rotary_scaling() -> None:
    """A scaling of positions that the configuration doesn't have."""
    rotary(lambda each: getattr(each, FULL).div_(8))


def interleaved_rotation() -> None:
    def wrong(x: torch.Tensor) -> torch.Tensor:
        return torch.stack((-x[..., 1::2], x[..., ::2]), -1).flatten(-2)

    gemma3.rotate_half = gemma4.rotate_half = wrong


def query_scale() -> None:
    built(gemma3.Gemma3Attention, lambda a: setattr(a, "scaling", a.head_dim**-0.5))


def query_scale_of_gemma4() -> None:
    built(gemma4.Gemma4TextAttention, lambda a: setattr(a, "scaling", a.head_dim**-0.5))


def unscaled(kind: type, is_meant: Callable[[Any], bool] = lambda table: True) -> None:
    right = kind.forward

    def wrong(self: Any, ids: torch.Tensor) -> torch.Tensor:
        return torch.nn.Embedding.forward(self, ids) if is_meant(self) else right(self, ids)

    kind.forward = wrong


def embedding_scale() -> None:
    unscaled(gemma3.Gemma3TextScaledWordEmbedding)


def is_layer_table(table: Any) -> bool:
    """Of per-layer embeddings, by scale and width, in the embedded model or the multimodal one."""
    return (table.scalar_embed_scale, table.embedding_dim) in {(8, 384), (4, 64)}


def embedding_scale_of_gemma4() -> None:
    unscaled(gemma4.Gemma4TextScaledWordEmbedding, lambda table: not is_layer_table(table))


def layer_embedding_scale() -> None:
    unscaled(gemma4.Gemma4TextScaledWordEmbedding, is_layer_table)


def no_layer_inputs() -> None:
    returned(
        gemma4.Gemma4TextModel, "project_per_layer_inputs", lambda _, out: torch.zeros_like(out)
    )


def layer_inputs_not_halved() -> None:
    built(gemma4.Gemma4TextModel, lambda m: setattr(m, "per_layer_input_scale", 1.0))


def inputs_of_another_layer() -> None:
    returned(gemma4.Gemma4TextModel, "project_per_layer_inputs", lambda _, out: out.roll(1, dims=2))


def no_shared_keys() -> None:
    """transformers 5.5.0: without a cache, layers that share keys and values got none."""
    right = gemma4.Gemma4TextAttention.forward

    def wrong(self: Any, *args: Any, shared_kv_states: Any, **kwargs: Any) -> Any:
        if self.is_kv_shared_layer:
            shared = shared_kv_states[self.layer_type]
            shared_kv_states = {self.layer_type: tuple(map(torch.zeros_like, shared))}
        return right(self, *args, shared_kv_states=shared_kv_states, **kwargs)

    gemma4.Gemma4TextAttention.forward = wrong


def wider_window() -> None:
    right = masking_utils.sliding_window_overlay
    masking_utils.sliding_window_overlay = lambda window: right(window + 1)


def no_window() -> None:
    for module in (gemma3, gemma4):
        module.create_sliding_window_causal_mask = masking_utils.create_causal_mask


def window_for_all() -> None:
    for module in (gemma3, gemma4):
        module.create_causal_mask = masking_utils.create_sliding_window_causal_mask


def no_causality() -> None:
    right = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def wrong(module: Any, q: Any, k: Any, v: Any, mask: Any, **kwargs: Any) -> Any:
        return right(module, q, k, v, None, **{**kwargs, "is_causal": False})

    ALL_ATTENTION_FUNCTIONS.register("sdpa", wrong)


def norm_without_one() -> None:
    gemma3.Gemma3RMSNorm.forward = lambda self, x: (
        self._norm(x.float()) * self.weight.float()
    ).type_as(x)


def norm_with_one() -> None:
    right = gemma4.Gemma4RMSNorm.forward

    def wrong(self: Any, x: torch.Tensor) -> torch.Tensor:
        return right(self, x) + self._norm(x.float()) if self.with_scale else right(self, x)

    gemma4.Gemma4RMSNorm.forward = wrong


def values_not_normed() -> None:
    built(gemma4.Gemma4TextAttention, lambda a: a.is_kv_shared_layer
          or setattr(a, "v_norm", torch.nn.Identity()))  # fmt: skip


def cap_lost_at_load() -> None:
    def change(model: Any) -> None:
        model.config.get_text_config().final_logit_softcapping = None

    loaded(change)


def cap_lost_in_the_head() -> None:
    right = head.cross_entropy
    head.cross_entropy = lambda *args: right(*args[:3], None)


def other_activation() -> None:
    ACT2FN["gelu_pytorch_tanh"] = torch.nn.SiLU


def exact_activation() -> None:
    """GELU as it is, in the place of its approximation: the smallest effect of all."""
    ACT2FN["gelu_pytorch_tanh"] = torch.nn.GELU


def router_weights_unnormalised() -> None:
    def change(_: Any, out: Any) -> Any:
        return out[0], out[0].gather(-1, out[2]), out[2]

    returned(gemma4.Gemma4TextRouter, "forward", change)


def router_scale() -> None:
    built(gemma4.Gemma4TextRouter, lambda router: setattr(router, "scalar_root_size", 1.0))


def one_expert() -> None:
    returned(gemma4.Gemma4TextRouter, "forward",
             lambda _, out: (out[0], out[1][:, :1], out[2][:, :1]))  # fmt: skip


def swapped_halves() -> None:
    def change(model: Any) -> None:
        for module in model.modules():
            if isinstance(module, gemma4.Gemma4TextExperts):
                gate_up = module.gate_up_proj.data
                module.gate_up_proj.data = torch.cat(gate_up.chunk(2, 1)[::-1], 1)

    loaded(change)


def experts_in_another_order() -> None:
    def change(model: Any) -> None:
        for module in model.modules():
            if isinstance(module, gemma4.Gemma4TextExperts):
                module.down_proj.data = module.down_proj.data.flip(0)

    loaded(change)


def no_layer_scalar() -> None:
    def change(model: Any) -> None:
        for layer in model.get_decoder().layers:
            if hasattr(layer, "layer_scalar"):
                layer.layer_scalar.fill_(1)

    loaded(change)


def another_head() -> None:
    """Tied tables come apart: the head is none of the files'."""

    def change(model: Any) -> None:
        table = model.get_output_embeddings().weight
        model.get_output_embeddings().weight = torch.nn.Parameter(table.detach().roll(1, 0), False)

    loaded(change)


def heads_in_other_groups() -> None:
    """Heads of keys and values serve others' heads of queries."""
    right = ALL_ATTENTION_FUNCTIONS["sdpa"]

    def wrong(module: Any, q: Any, k: Any, v: Any, *args: Any, **kwargs: Any) -> Any:
        return right(module, q, k.roll(1, 1), v.roll(1, 1), *args, **kwargs)

    ALL_ATTENTION_FUNCTIONS.register("sdpa", wrong)


def queries_not_normed() -> None:
    built(gemma3.Gemma3Attention, lambda a: setattr(a, "q_norm", torch.nn.Identity()))


def layers_of_the_other_kind() -> None:
    """The pattern of sliding and full layers begins one too late."""

    def change(model: Any) -> None:
        config = model.config.get_text_config()
        if "gemma3" in config.model_type:
            config.layer_types = [*config.layer_types[1:], config.layer_types[0]]

    loaded(change)


def residual_of_the_norm() -> None:
    """As in post-norm transformers, what is added is the normed input, not the input."""
    right = gemma3.Gemma3DecoderLayer.forward

    def wrong(self: Any, hidden_states: torch.Tensor, *args: Any, **kwargs: Any) -> Any:
        out = right(self, hidden_states, *args, **kwargs)
        return out - hidden_states + self.input_layernorm(hidden_states)

    gemma3.Gemma3DecoderLayer.forward = wrong


def last_of_a_batch_unscored() -> None:
    """The last tile of the chunked head is lost."""
    right = head.cross_entropy
    head.cross_entropy = lambda hidden, weight, targets, *rest: right(
        hidden[:-1], weight, targets[:-1], *rest
    )
