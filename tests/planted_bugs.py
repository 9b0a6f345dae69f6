"""Bugs that an install may have, each planted into the engine as its doctor begins."""

from collections.abc import Callable
from typing import Any

import torch
from accelerate import Accelerator
from bitsandbytes.optim.optimizer import Optimizer8bit
from peft.tuners.lora import LoraLayer
from transformers import masking_utils
from transformers.activations import ACT2FN
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS
from transformers.models.gemma3 import modeling_gemma3 as gemma3
from transformers.models.gemma4 import modeling_gemma4 as gemma4

from engine.data.batches import Collator
from engine.data.encoding import tokens
from engine.data.encoding.tokens import IGNORED, Encoder
from engine.kernels import head, linear
from engine.model import load
from engine.model.experts import QuantisedExperts
from engine.model.patches import four_bit_cpu
from engine.train import optimizer, state, training_state

BEGIN, TURN_END, NEW_LINE = 2, 106, 107
FULL, SLIDING = "full_attention_inv_freq", "sliding_attention_inv_freq"
Change = Callable[[Any], None]


def built(kind: type, change: Change) -> None:
    """Change each new instance of a class."""
    right = kind.__init__

    def wrong(self: Any, *args: Any, **kwargs: Any) -> None:
        right(self, *args, **kwargs)
        change(self)

    kind.__init__ = wrong


def returned(owner: Any, name: str, change: Callable[[Any, Any], Any]) -> None:
    """Change what a function returns, by its first argument and the result."""
    right = getattr(owner, name)
    setattr(owner, name, lambda *args, **kwargs: change(args[0], right(*args, **kwargs)))


def loaded(change: Change) -> None:
    """Change each model once it is loaded."""
    right = load.AutoModelForCausalLM.from_pretrained

    def wrong(*args: Any, **kwargs: Any) -> Any:
        model, info = right(*args, **kwargs)
        change(model)
        return model, info

    load.AutoModelForCausalLM.from_pretrained = wrong


def rotary(change: Change) -> None:
    """Change the rotary embeddings of each model once it is loaded."""
    loaded(lambda model: change(model.get_decoder().rotary_emb))


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


class _Swapped:
    """A kernel that takes the halves of each byte the other way round."""

    def __init__(self, right: Any) -> None:
        self.right = right

    def call_boxed(self, keys: Any, packed: torch.Tensor, *args: Any) -> torch.Tensor:
        flat = packed.contiguous().view(torch.uint8)
        return self.right.call_boxed(keys, flat % 16 * 16 + flat // 16, *args)


def swapped_nibbles() -> None:
    right = four_bit_cpu.original_kernel()
    four_bit_cpu.original_kernel = lambda: _Swapped(right)


def scales_without_their_mean() -> None:
    def change(model: Any) -> None:
        for module in model.modules():
            state = getattr(getattr(module, "weight", None), "quant_state", None)
            if state is not None:
                state.offset = state.offset * 0

    loaded(change)


def experts_of_the_next_number() -> None:
    right = QuantisedExperts.forward
    QuantisedExperts.forward = lambda self, x, index, weights: right(
        self, x, (index + 1) % self.num_experts, weights
    )


def bfloat16_products() -> None:
    right = torch.nn.Linear.forward
    torch.nn.Linear.forward = lambda self, x: (
        right(self, x) * (1.2 if x.dtype is torch.bfloat16 else 1)
    )


def labels_shifted_twice() -> None:
    def change(_: Any, batch: Any) -> Any:
        labels = batch["labels"].roll(-1, dims=1)
        labels[:, -1] = IGNORED
        return {**batch, "labels": labels}

    returned(Collator, "__call__", change)


def labels_of_all() -> None:
    def change(_: Any, batch: Any) -> Any:
        is_padding = batch["input_ids"] == 0
        return {**batch, "labels": batch["input_ids"].masked_fill(is_padding, IGNORED)}

    returned(Collator, "__call__", change)


def mask_of_ones() -> None:
    """As most trainers hand it over: rows that are packed see each other."""

    def change(_: Any, batch: Any) -> Any:
        return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}

    returned(Collator, "__call__", change)


def positions_that_go_on() -> None:
    """Positions of a packed sequence are counted from its beginning."""

    def change(_: Any, batch: Any) -> Any:
        ids = batch["input_ids"]
        return {**batch, "position_ids": torch.arange(ids.shape[1]).expand_as(ids)}

    returned(Collator, "__call__", change)


def no_line_break() -> None:
    """As where the engine's own patching of a template loses it."""

    def kept(ids: list[int], place: int) -> bool:
        return not (ids[place] == NEW_LINE and place and ids[place - 1] == TURN_END)

    def change(_: Any, rows: Any) -> Any:
        return [
            row._replace(
                ids=[one for place, one in enumerate(row.ids) if kept(row.ids, place)],
                mask=[one for place, one in enumerate(row.mask) if kept(row.ids, place)],
            )
            for row in rows
        ]

    returned(Encoder, "encode", change)


def no_loss_on_the_end() -> None:
    returned(tokens, "labels", lambda ids, out: [IGNORED if x == TURN_END else x for x in out])


def begin_twice() -> None:
    returned(Encoder, "encode",
             lambda _, rows: [row._replace(ids=[BEGIN, *row.ids], mask=[0, *row.mask])
                              for row in rows])  # fmt: skip


def users_supervised() -> None:
    returned(Encoder, "encode",
             lambda _, rows: [row._replace(mask=[1] * len(row.ids)) for row in rows])  # fmt: skip


def no_clipping() -> None:
    def wrong(self: Any, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
        return torch.nn.utils.get_total_norm([p.grad for p in parameters if p.grad is not None])

    Accelerator.clip_grad_norm_ = wrong


def clipping_by_value() -> None:
    right = Accelerator.clip_grad_norm_

    def wrong(self: Any, parameters: Any, max_norm: float, norm_type: int = 2) -> Any:
        parameters = list(parameters)
        norm = right(self, parameters, 1e9)
        torch.nn.utils.clip_grad_value_(parameters, max_norm)
        return norm

    Accelerator.clip_grad_norm_ = wrong


def decay_by_surprise() -> None:
    right = optimizer._groups
    optimizer._groups = lambda model, decay: right(model, decay or 0.01)


def no_decay() -> None:
    right = optimizer._groups
    optimizer._groups = lambda model, decay: right(model, 0.0)


def decay_in_the_gradient() -> None:
    torch.optim.AdamW = torch.optim.Adam


def other_betas() -> None:
    optimizer._ADAM["betas"] = (0.9, 0.95)


def moments_of_8_bits_lost() -> None:
    returned(Optimizer8bit, "step", lambda optimizer, _: optimizer.state.clear())


def schedule_ahead() -> None:
    def change(_: Any, schedule: Any) -> Any:
        schedule.step()
        return schedule

    returned(state, "schedule_of", change)


def no_schedule() -> None:
    right = state.schedule_of

    def wrong(optimizer: Any, training: Any, total: int) -> Any:
        changes = {"lr_scheduler_type": "constant"}
        return right(optimizer, training.model_copy(update=changes), total)

    state.schedule_of = wrong


def trained_copies() -> None:
    right = optimizer._groups

    def wrong(model: Any, decay: float) -> Any:
        groups = right(model, decay)
        for group in groups:
            group["params"] = [torch.nn.Parameter(p.detach().clone()) for p in group["params"]]
        return groups

    optimizer._groups = wrong


def scale_by_root() -> None:
    """In training and at loading alike."""
    right = LoraLayer.update_layer

    def wrong(self: Any, name: str, r: int, lora_alpha: int, *args: Any, **kwargs: Any) -> None:
        right(self, name, r, lora_alpha, *args, **kwargs)
        self.scaling[name] = lora_alpha / r**0.5

    LoraLayer.update_layer = wrong


def backward_of_a() -> None:
    right = linear._LoraLinear.backward

    def wrong(ctx: Any, *gradients: Any) -> Any:
        of_inputs, none, of_down, *rest = right(ctx, *gradients)
        return of_inputs, none, 1.1 * of_down, *rest

    linear._LoraLinear.backward = staticmethod(wrong)


def moments_lost() -> None:
    training_state.restore_optimizer = lambda optimizer, state: None


def schedule_lost() -> None:
    training_state.restore_scheduler = lambda schedule, state: None
