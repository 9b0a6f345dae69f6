"""What other trainers call a setting: TRL and PEFT, Axolotl, LLaMA-Factory, Unsloth, and people."""

_WORDS = {
    "model.path": "model_name model_name_or_path base_model base_model_name model_id model_path "
    "pretrained_model pretrained_model_name_or_path",
    "model.revision": "model_revision revision_of_model",
    "model.dtype": "torch_dtype bf16 fp16 precision mixed_precision compute_dtype",
    "model.quantization": "load_in_4bit load_in_8bit quantization_bit use_4bit bits quantize qlora",
    "adapter.method": "use_dora dora peft_use_dora adapter_type finetuning_type peft_type",
    "adapter.r": "lora_r lora_rank rank lora_dim",
    "adapter.lora_alpha": "alpha",
    "adapter.use_rslora": "rslora peft_use_rslora use_rs_lora",
    "adapter.lora_dropout": "dropout",
    "adapter.target_modules": "lora_target lora_targets lora_target_modules target_module targets",
    "data.sources": "dataset datasets dataset_name dataset_path train_dataset train_file "
    "data_path data_file data_files",
    "data.sources.rows": "max_samples max_train_samples num_samples",
    "data.max_length": "max_seq_length max_seq_len seq_length seq_len sequence_len sequence_length "
    "cutoff_len cutoff_length model_max_length context_length block_size max_len",
    "data.packing": "sample_packing pack packed",
    "data.loss_on": "train_on_inputs train_on_prompt train_on_responses_only assistant_only_loss "
    "completion_only_loss train_on_completions_only mask_prompt",
    "data.heldout": "val_set_size val_size validation_split validation_file eval_split test_size "
    "eval_dataset test_split",
    "data.template": "chat_template",
    "data.truncation": "truncation_mode excess_length_strategy",
    "training.per_device_train_batch_size": "batch_size micro_batch_size train_batch_size "
    "per_device_batch_size per_gpu_train_batch_size",
    "training.gradient_accumulation_steps": "gradient_accumulation grad_accumulation grad_accum "
    "grad_accumulation_steps accumulation_steps",
    "training.learning_rate": "lr",
    "training.lr_scheduler_type": "lr_scheduler scheduler scheduler_type lr_schedule",
    "training.warmup_steps": "warmup warmup_ratio lr_warmup_steps",
    "training.num_train_epochs": "epochs num_epochs epoch n_epochs",
    "training.max_steps": "steps num_steps max_iters total_steps num_train_steps",
    "training.optim": "optimizer optimiser",
    "training.loraplus_lr_ratio": "loraplus lora_plus loraplus_ratio",
    "training.weight_decay": "wd",
    "training.max_grad_norm": "gradient_clipping grad_clip clip_grad_norm max_gradient_norm",
    "training.gradient_checkpointing": "use_gradient_checkpointing activation_checkpointing "
    "grad_checkpointing disable_gradient_checkpointing",
    "training.save_steps": "save_every save_interval",
    "training.save_total_limit": "max_checkpoints",
    "training.seed": "seed random_seed random_state",
    "samples.prompts": "prompts eval_prompts sample_prompts test_prompts",
    "samples.max_new_tokens": "max_new_tokens max_tokens",
}
ALIASES = {alias: key for key, words in _WORDS.items() for alias in words.split()}
"""The dotted key by each such name, in small letters with underscores."""

_WITHOUT_EQUAL = {
    "tables and heads are not trained: of tied ones PEFT would change one end alone, or both twice":
    "modules_to_save lora_modules_to_save additional_target trainable_token_indices "
    "ensure_weight_tying",
    "an adapter starts as LoRA's paper has it: others change the base or lack what they need":
    "init_lora_weights lora_init_weights peft_init_lora_weights loftq_config loftq pissa_init",
    "every module has the same rank and alpha: set adapter.r and adapter.lora_alpha":
    "rank_pattern alpha_pattern",
    "a schedule has no floor: cosine and linear end at zero":
    "min_lr min_lr_rate lr_scheduler_kwargs cosine_min_lr_ratio lr_end",
}  # fmt: skip
WITHOUT_EQUAL = {name: why for why, names in _WITHOUT_EQUAL.items() for name in names.split()}
"""Why there is no key for a name, in small letters with underscores."""


def key_of(name: str) -> str:
    """The dotted key that a name means; empty where it is none of theirs."""
    return ALIASES.get(name.casefold().replace("-", "_"), "")
