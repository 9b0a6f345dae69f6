"""What each key of another trainer becomes in a recipe, or why it becomes nothing."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from engine.problems import Problem, Refusal
from engine.recipe import aliases, typed_value
from workbench.other_trainers import reading
from workbench.other_trainers.reading import Computed

Settings = dict[str, Any]
"""Values by dotted key of a recipe."""


@dataclass(frozen=True, slots=True)
class Row:
    """One key of theirs."""

    key: str
    value: Any
    settings: Settings
    reason: str = ""
    """Why it sets nothing; empty where it does."""
    is_lost: bool = False
    """Whether something that it asks for is not done here."""
    is_default: bool = False
    """Whether it is what that trainer does where the key is left out."""


class Lost(Exception):
    """What a value asks for is not done here; the message says why."""


class Needless(Exception):
    """Nothing has to be set for a value; the message says why."""


_SAME = {
    "adapter.r": "lora_r lora_rank r",
    "adapter.lora_alpha": "lora_alpha",
    "adapter.lora_dropout": "lora_dropout",
    "adapter.use_rslora": "use_rslora peft_use_rslora",
    "data.max_length": "sequence_len cutoff_len max_length max_seq_length",
    "data.packing": "sample_packing packing neat_packing",
    "training.per_device_train_batch_size": "micro_batch_size per_device_train_batch_size",
    "training.gradient_accumulation_steps": "gradient_accumulation_steps",
    "training.learning_rate": "learning_rate",
    "training.lr_scheduler_type": "lr_scheduler lr_scheduler_type",
    "training.warmup_steps": "warmup_steps warmup_ratio",
    "training.num_train_epochs": "num_epochs num_train_epochs",
    "training.max_steps": "max_steps",
    "training.weight_decay": "weight_decay",
    "training.max_grad_norm": "max_grad_norm",
    "training.loraplus_lr_ratio": "loraplus_lr_ratio",
    "training.save_total_limit": "save_total_limit",
    "training.seed": "random_state",
    "data.seed": "data_seed",
}
_OPTIMIZERS = {
    **dict.fromkeys(("adamw_torch_fused", "adamw_hf", "adamw_apex_fused"), "adamw_torch"),
    **dict.fromkeys(("adamw_bnb_8bit", "adamw8bit"), "adamw_8bit"),
    "paged_adamw": "paged_adamw_32bit",
}  # fmt: skip
"""Optimizers of transformers that compute what one of ours does, by its name here."""
_NEEDLESS = {
    "output_dir": "--out names a run's folder, else one is made below runs/",
    "logging_steps": "every step is told",
    "logging_strategy": "every step is told",
    "report_to": "a run is told by its own files",
    **dict.fromkeys(
        ("flash_attention", "flash_attn", "xformers_attention", "sdp_attention", "eager_attention",
         "attn_implementation", "tf32", "use_liger_kernel", "use_reentrant"),
        "the device's fastest exact kernels are taken",
    ),
    **dict.fromkeys(
        ("gradient_checkpointing_kwargs", "pad_to_sequence_len", "group_by_length",
         "ddp_find_unused_parameters", "bf16_full_eval", "model", "tokenizer", "processing_class",
         "train_dataset", "args", "device_map", "token", "data_collator", "formatting_func"),
        "nothing here depends on it",
    ),
    **dict.fromkeys(
        ("dataset_prepared_path", "overwrite_cache", "preprocessing_num_workers",
         "dataset_num_proc", "dataset_processes", "dataloader_num_workers", "do_train",
         "overwrite_output_dir", "plot_loss", "trust_remote_code", "strict", "model_type",
         "tokenizer_type", "debug"),
        "it is done unasked, or has no part in what is trained",
    ),
}  # fmt: skip
_LOST = {
    "eval_strategy": "no loss is taken of other rows while it trains",
    "eval_steps": "no loss is taken of other rows while it trains",
    "evals_per_epoch": "no loss is taken of other rows while it trains",
    "saves_per_epoch": "checkpoints are made every so many steps: set training.save_steps",
    "batch_size": "rows of a step are per_device_train_batch_size x gradient_accumulation_steps",
    "deepspeed": "a run takes one device",
    "fsdp": "a run takes one device",
}
_NO_EQUAL = "gemma-bench has nothing like it"
_UNASKED = "it is so unasked"
_FLOAT16 = "gradients of Gemma overflow in float16; auto takes bfloat16, or float32"


def rows(settings: Mapping[str, Any]) -> Iterator[Row]:
    """What becomes of each key; those of data are `sources`' to tell.

    Raises `Refusal` where it trains otherwise than by supervised fine-tuning.
    """
    for key, value in settings.items():
        if value is None or value in ("", [], {}):
            yield Row(key, value, {}, "it is left empty")
            continue
        try:
            yield Row(key, value, _became(key, value))
        except Needless as reason:
            yield Row(key, value, {}, str(reason))
        except Lost as reason:
            yield Row(key, value, {}, str(reason), is_lost=True)
        except (ValueError, TypeError, AttributeError):
            yield Row(key, value, {}, "its value is none of this key's", is_lost=True)


def _became(key: str, value: Any) -> Settings:
    if isinstance(value, Computed) and key not in _NEEDLESS:
        raise Lost("its value is computed, and the script is not run")
    if key in _OF:
        return _OF[key](value)
    if key in _NEEDLESS:
        raise Needless(_NEEDLESS[key])
    raise Lost(_LOST.get(key) or aliases.WITHOUT_EQUAL.get(key, _NO_EQUAL))


def _nothing(because: str) -> Settings:
    raise Needless(because)


def _lost(because: str) -> Settings:
    raise Lost(because)


def _same(ours: str) -> Callable[[Any], Settings]:
    """The value as ours takes it: YAML leaves 2e-4 a text."""
    return lambda value: {ours: _read(ours, value)}


def _read(ours: str, value: Any) -> Any:
    return typed_value.read(ours, value, Path.cwd()) if isinstance(value, str) else value


def _model(value: str) -> Settings:
    for ending in ("-unsloth-bnb-4bit", "-bnb-4bit"):
        if value.endswith(ending):
            return {"model.path": value.removesuffix(ending), "model.quantization": "nf4"}
    return {"model.path": value}


def _targets(value: Any) -> Settings:
    return {"adapter.target_modules": _read("adapter.target_modules", value)}


def _when(is_so: bool, settings: Settings, otherwise: str = _UNASKED) -> Settings:
    return settings if is_so else _nothing(otherwise)


def _adapter(value: str) -> Settings:
    if value not in {"lora", "qlora"}:
        raise Lost("only LoRA and DoRA are trained")
    return _when(value == "qlora", {"model.quantization": "nf4"})


def _only_adapters(is_adapter: bool) -> Settings:
    return _nothing(_UNASKED) if is_adapter else _lost("only adapters are trained: LoRA is")


def _bits(value: Any) -> Settings:
    if str(value) != "4":
        raise Lost("weights are held in 16 bits, or in 4")
    return {"model.quantization": "nf4"}


def _four_bit_kind(value: str) -> Settings:
    return _nothing(_UNASKED) if value == "nf4" else _lost("4 bits are nf4")


def _dtype(value: Any) -> Settings:
    name = str(value).rpartition(".")[2]
    if name == "float16":
        raise Lost(_FLOAT16)
    return _when(name in {"bfloat16", "float32"}, {"model.dtype": name}, "auto is the default")


def _half(value: Any) -> Settings:
    return _lost(_FLOAT16) if value is True else _nothing(_UNASKED)


def _optimizer(value: str) -> Settings:
    return {"training.optim": _OPTIMIZERS.get(value, value)}


def _held_out(value: Any) -> Settings:
    share = float(value)
    if share >= 1:
        raise Lost("rows are held out by their share: set data.heldout")
    return _when(share > 0, {"data.heldout": share}, "no row is held out by default")


def _checkpointing(value: Any) -> Settings:
    return {"training.gradient_checkpointing": value not in {False, "false", "none"}}


def _save_steps(value: Any) -> Settings:
    if float(value) < 1:
        raise Lost("checkpoints are made every so many steps: set training.save_steps")
    return {"training.save_steps": int(value)}


def _template(value: str) -> Settings:
    if "gemma" not in str(value) and value != "tokenizer_default":
        raise Lost("Gemma's own template is taken")
    return _nothing(_UNASKED)


def _supervised(key: str, sft_value: str) -> Callable[[Any], Settings]:
    def check(value: Any) -> Settings:
        if value != sft_value:
            reason = f"{value} is no supervised fine-tuning"
            fix = "Give a configuration that trains on answers alone"
            raise Refusal("import", [Problem(key, reading.shown(value), reason, fix)])
        return _nothing(_UNASKED)

    return check


def _dora(value: Any) -> Settings:
    return _when(bool(value), {"adapter.method": "dora"})


def _four_bit(value: Any) -> Settings:
    return {"model.quantization": "nf4" if value else "none"}


def _eight_bit(value: Any) -> Settings:
    return _bits(8) if value else _nothing(_UNASKED)


def _bias(value: Any) -> Settings:
    return _nothing(_UNASKED) if value == "none" else _lost("biases get no adapter")


def _assistant_only(value: Any) -> Settings:
    if not value:
        raise Lost("the loss is on answers alone; on every token it is by data.loss_on = all")
    return {"data.loss_on": "assistant"}


def _no_towers(value: Any) -> Settings:
    return _lost("the vision tower gets no adapter") if value else _nothing(_UNASKED)


def _loss_on(of: str) -> Callable[[Any], Settings]:
    return lambda value: _when(bool(value), {"data.loss_on": of})


_OF: dict[str, Callable[[Any], Settings]] = {
    **{name: _same(ours) for ours, names in _SAME.items() for name in names.split()},
    **dict.fromkeys(("base_model", "model_name_or_path", "model_name"), _model),
    "model_revision": lambda value: _when(value != "main", {"model.revision": value}),
    "revision_of_model": lambda value: {"model.revision": value},
    **dict.fromkeys(("lora_target_modules", "lora_target", "target_modules"), _targets),
    "lora_target_linear": lambda value: _when(bool(value), _targets("all")),
    **dict.fromkeys(("use_dora", "peft_use_dora"), _dora),
    "adapter": _adapter,
    "finetuning_type": lambda value: _only_adapters(value == "lora"),
    "use_peft": lambda value: _only_adapters(bool(value)),
    "full_finetuning": lambda value: _only_adapters(not value),
    "load_in_4bit": _four_bit,
    "load_in_8bit": _eight_bit,
    "quantization_bit": _bits,
    "bnb_4bit_quant_type": _four_bit_kind,
    **dict.fromkeys(("dtype", "torch_dtype"), _dtype),
    "bf16": lambda _: _nothing("auto takes bfloat16 where the device has it"),
    "fp16": _half,
    **dict.fromkeys(("optim", "optimizer"), _optimizer),
    "seed": lambda value: {"training.seed": value, "data.seed": value},
    **dict.fromkeys(("val_set_size", "val_size"), _held_out),
    **dict.fromkeys(("gradient_checkpointing", "use_gradient_checkpointing"), _checkpointing),
    "save_steps": _save_steps,
    **dict.fromkeys(("train_on_inputs", "train_on_prompt"), _loss_on("all")),
    "mask_history": _loss_on("last"),
    "completion_only_loss": _loss_on("completion"),
    "assistant_only_loss": _assistant_only,
    "train_on_responses_only": _loss_on("assistant"),
    "finetune_vision_layers": _no_towers,
    **dict.fromkeys(
        ("finetune_language_layers", "finetune_attention_modules", "finetune_mlp_modules"),
        lambda value: _nothing(_UNASKED) if value else _lost("set adapter.target_modules"),
    ),
    **dict.fromkeys(("chat_template", "template"), _template),
    "stage": _supervised("stage", "sft"),
    "rl": _supervised("rl", ""),
    "bias": _bias,
}
