"""Load a Gemma and its tokenizer, with a reason for each choice made on the user's behalf."""

from dataclasses import dataclass

import torch
from transformers import AutoModelForCausalLM, BitsAndBytesConfig

from engine.budget.library_kernels import FLASH_HEAD_WIDTH
from engine.data.encoding.tokenizer import Tokenizer, folder_or_id, tokenizer
from engine.gemma import lora_targets, towers
from engine.gemma.gguf import checkpoint, files
from engine.hardware import kernel_choice
from engine.hardware.profiles import Profile
from engine.model import host_embeddings, mapped_tensor
from engine.model.experts import QuantisedExperts
from engine.model.patches import expert_groups, four_bit_cpu
from engine.model.patches.expert_quantizer import experts_in_four_bits
from engine.model.patches.partial_models import towers_of, without_layer_table, without_towers
from engine.model.patches.tensor_loading import tensor_by_tensor
from engine.model.protocols import LanguageModel
from engine.recipe.schema import Model

_NOT_QUANTISED = [
    lora_targets.HEAD,
    r".*\.router",
    rf".*\.{lora_targets.PER_LAYER_INPUT}",
    *(rf".*\.{module}" for module in towers.MODULES),
]
"""What would be quantised besides the language model's projections: patterns over module names."""


@dataclass(frozen=True, slots=True)
class Loaded:
    """A model on its device in evaluation mode, and how it came about."""

    model: LanguageModel
    tokenizer: Tokenizer
    dtype: torch.dtype
    device: str
    reasons: dict[str, str]
    has_own_head: bool
    """Whether it is trained through the engine's kernels, or through TRL's and PEFT's."""
    counts_on: bool
    """Whether positions of padding go on from its row, for which no mask is made."""

    @property
    def vocab_size(self) -> int:
        """Rows of the output head."""
        size: int = self.model.config.get_text_config().vocab_size
        return size


def load(choice: Model, profile: Profile, *, has_towers: bool = False) -> Loaded:
    """The model of a recipe on a hardware profile; its tables on the host where that is settled.

    Its vision and audio towers are left out where only text will be read. Raises `ValueError` where
    the files lack weights of the model, which transformers would fill with random numbers and only
    log.
    """
    # cuDNN's, which PyTorch prefers from Hopper on, plans for a tenth of a second to a second for
    # every new shape, and batches here are as long as their longest row. Not run on a GPU yet.
    torch.backends.cuda.enable_cudnn_sdp(False)
    expert_groups.wait_once()
    if files.is_gguf(choice.path):
        checkpoint.with_weights(choice.path)
    source = folder_or_id(choice)
    dtype_name, why_dtype = kernel_choice.dtype_and_reason(choice.dtype, profile)
    dtype: torch.dtype = getattr(torch, dtype_name)
    is_on_host = choice.host_tables is True
    with (
        without_towers(not has_towers),
        without_layer_table(is_on_host),
        experts_in_four_bits(),
        tensor_by_tensor(dtype is torch.float32 or choice.quantization != "none"),
    ):
        model, info = AutoModelForCausalLM.from_pretrained(
            source,
            revision=choice.revision,
            dtype=dtype,
            device_map={"": profile.device},
            quantization_config=None if choice.quantization == "none" else four_bits(dtype),
            output_loading_info=True,
            # A pickle of a stranger's can run code.
            use_safetensors=True,
        )
    if info["missing_keys"]:
        missing = ", ".join(sorted(info["missing_keys"])[:3])
        raise ValueError(f"{source} lacks {len(info['missing_keys'])} weights: {missing} ...")
    if choice.quantization != "none" and profile.device == "cpu":
        four_bit_cpu.read_block_by_block()
        four_bit_cpu.keep_as_stored(model)
    if is_on_host:
        host_embeddings.map_table(model, mapped_tensor.folder_of(source, choice.revision), dtype)
    reasons = {
        "dtype": why_dtype,
        "device": profile.reason or f"profile {profile.name}",
        "attention": _why_attention(model, profile),
        "kernels": kernel_choice.why(profile),
        **_why_quantised(choice, model),
        **_why_blind(model),
    }
    return Loaded(
        model=model.eval(),
        tokenizer=tokenizer(choice),
        dtype=dtype,
        device=profile.device,
        reasons=reasons,
        has_own_head=kernel_choice.has_own_head(profile.device) or bool(profile.why_no_triton),
        counts_on=kernel_choice.counts_on(profile.device, dtype_name, has_flash=profile.has_flash),
    )


def _why_attention(model: LanguageModel, profile: Profile) -> str:
    """The choice is transformers' own: asked for by name, it would hold for audio towers too."""
    attention = model.config.get_text_config()._attn_implementation
    widest = max(getattr(module, "head_dim", 0) for module in model.modules())
    if profile.device == "mps":
        return f"{attention}: Apple's GPUs have no kernel with a backward pass, so scores are kept"
    why = "it keeps no matrix of scores, and gives what eager gives to 2e-5"
    if profile.has_flash and widest > FLASH_HEAD_WIDTH:
        why += f"; flash attention has no heads of {widest}, only up to {FLASH_HEAD_WIDTH}"
    return f"{attention}: {why}"


def _why_quantised(choice: Model, model: LanguageModel) -> dict[str, str]:
    if choice.quantization == "none":
        return {}
    mixtures = sum(isinstance(module, QuantisedExperts) for module in model.modules())
    also = f" and of the experts in {mixtures} layers" if mixtures else ""
    return {"quantization": f"NF4 holds the weights of the projections{also}: the recipe says so"}


def _why_blind(model: LanguageModel) -> dict[str, str]:
    is_blind = hasattr(model.config, "vision_config") and not towers_of(model)
    return {"towers": "left out: no row holds an image"} if is_blind else {}


def four_bits(dtype: torch.dtype, *, double_quantization: bool = True) -> BitsAndBytesConfig:
    """How the language model's projections are held in NF4."""
    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=double_quantization,
        bnb_4bit_compute_dtype=dtype,
        llm_int8_skip_modules=_NOT_QUANTISED,
    )
