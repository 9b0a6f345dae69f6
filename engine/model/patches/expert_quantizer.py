"""transformers' bitsandbytes quantizer, extended to experts.

By itself it leaves experts in 16 bits: 42.5 of 26B-A4B's 47 GiB.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import torch
from transformers import BitsAndBytesConfig, PreTrainedModel
from transformers.integrations.bitsandbytes import Bnb4bitQuantize
from transformers.quantizers import auto
from transformers.quantizers.quantizer_bnb_4bit import Bnb4BitHfQuantizer
from transformers.quantizers.quantizers_utils import get_module_from_name

from engine.model import nf4
from engine.model.experts import QuantisedExperts, replace_experts
from engine.written_for import WrittenFor

_METHOD = "bitsandbytes_4bit"
_QUANTIZER = "transformers.quantizers.quantizer_bnb_4bit:Bnb4BitHfQuantizer"
WRITTEN_FOR = WrittenFor(
    "transformers",
    ">=5.22,<5.24",
    (
        "transformers.integrations.bitsandbytes:Bnb4bitQuantize.convert",
        "transformers.quantizers.auto:AUTO_QUANTIZER_MAPPING",
        f"{_QUANTIZER}._process_model_before_weight_loading",
        f"{_QUANTIZER}.param_needs_quantization",
        f"{_QUANTIZER}.get_quantize_ops",
    ),
)


class ExpertQuantize(Bnb4bitQuantize):
    """Packs experts beside linear layers, each as it comes from its file."""

    def convert(
        self,
        input_dict: dict[str, list[torch.Tensor]],
        full_layer_name: str | None = None,
        model: PreTrainedModel | None = None,
        **kwargs: Any,
    ) -> dict[str, torch.Tensor]:
        """Pack one tensor; a stack of experts has the shape (experts, outputs, inputs)."""
        name, tensors = next(iter(input_dict.items()))
        module, _ = get_module_from_name(model, name)
        if not isinstance(module, QuantisedExperts):
            linear: dict[str, torch.Tensor] = super().convert(
                input_dict, full_layer_name, model, **kwargs
            )
            return linear
        stack = tensors[0] if isinstance(tensors, list) else tensors
        config: BitsAndBytesConfig = self.hf_quantizer.quantization_config
        is_double = config.bnb_4bit_use_double_quant
        return {name: nf4.quantised(stack, double_quantization=is_double)}


class ExpertQuantizer(Bnb4BitHfQuantizer):
    """Takes experts for weights that are to be packed."""

    def _process_model_before_weight_loading(
        self, model: PreTrainedModel, device_map: Any, **kwargs: Any
    ) -> None:
        super()._process_model_before_weight_loading(model, device_map, **kwargs)
        replace_experts(model)

    def param_needs_quantization(
        self, model: PreTrainedModel, param_name: str, **kwargs: Any
    ) -> bool:
        """Whether a tensor is to be packed as it is loaded."""
        module, _ = get_module_from_name(model, param_name)
        is_expert = isinstance(module, QuantisedExperts)
        return is_expert or bool(super().param_needs_quantization(model, param_name, **kwargs))

    def get_quantize_ops(self) -> ExpertQuantize:
        """What packs it."""
        return ExpertQuantize(self)


@contextmanager
def experts_in_four_bits() -> Iterator[None]:
    """Let transformers load the experts of a 4-bit model in 4 bits too.

    It knows quantizers by name only, and other parts of it ask for this name.
    """
    original = auto.AUTO_QUANTIZER_MAPPING[_METHOD]
    auto.AUTO_QUANTIZER_MAPPING[_METHOD] = ExpertQuantizer
    try:
        yield
    finally:
        auto.AUTO_QUANTIZER_MAPPING[_METHOD] = original
