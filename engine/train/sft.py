"""TRL's SFTTrainer on rows that were prepared here, with a token-weighted loss."""

import contextlib
import tempfile
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import torch
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from peft.optimizers import create_loraplus_optimizer
from peft.utils import SAFETENSORS_WEIGHTS_NAME, set_peft_model_state_dict
from safetensors.torch import load_file
from transformers import TrainerCallback
from transformers.trainer_pt_utils import LengthGroupedSampler
from trl import SFTConfig, SFTTrainer

from engine.data.batches import Collator, TokenSequence
from engine.data.image_tokenizer import FILES, LOOK, ImageTokenizer
from engine.model import host_embeddings
from engine.model.load import Loaded
from engine.model.lora import keep_float32
from engine.model.patches import frozen_towers
from engine.model.patches.fused_lora import use_fused_lora
from engine.model.patches.supervised_only import score_supervised_only
from engine.recipe.schema import Data, Training
from engine.run import failpoint
from engine.train import scoring, training_state
from engine.train.loss_guards import Guard
from engine.train.order import GroupedByLength, LongestFirst
from engine.train.table_prefetch import FETCHED, TablePrefetcher
from engine.train.token_counts import Tally

_WRITTEN_ROWS = 100
"""Sequences that are lists of Python at a time; those of a thousand would take 60 MiB."""


class TokenWeightedTrainer(SFTTrainer):
    """SFTTrainer whose loss is the mean over all supervised tokens of an optimizer step.

    Multimodal Gemma classes declare `accepts_loss_kwargs = False`, upon which transformers takes
    the mean of micro-batch means instead and gives short rows too much weight.
    """

    loss_is_scaled_for_ga = True

    def __init__(
        self,
        *,
        tally: Tally,
        on_save: Any,
        has_own_head: bool,
        is_lean: bool,
        loraplus_lr_ratio: float,
        guard: Guard,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.model_accepts_loss_kwargs = True
        self._lr_ratio = loraplus_lr_ratio
        self._tally = tally
        self._on_save = on_save
        self._has_own_head = has_own_head
        self._is_lean = is_lean
        self._guard = guard
        self.batch_shape: tuple[int, ...] = ()
        """Rows and tokens of the micro-batch that is at work, or was last."""

    def compute_loss(
        self,
        model: Any,
        inputs: dict[str, Any],
        return_outputs: bool = False,
        num_items_in_batch: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """Summed negative log-likelihood of a micro-batch over the tokens of the whole step.

        The fused head scores in tiles, so logits of (batch, length, vocabulary) never exist.
        """
        self.batch_shape = tuple(inputs["input_ids"].shape)
        failpoint.reached("train.batch")
        if FETCHED in inputs:
            inputs.pop(FETCHED).announce()
        if LOOK in inputs:
            inputs |= inputs.pop(LOOK).on(self.args.device)
        if self._has_own_head:
            scores = scoring.by_own_head(self.model, inputs, self._precision())
        else:
            scores = scoring.by_trl(model, inputs)
        padding = self.data_collator.pad_token_id
        tokens = (inputs["input_ids"] != padding).sum()
        self._tally.add(tokens, scores.supervised, scores.correct)
        total = scores.supervised if num_items_in_batch is None else num_items_in_batch
        return scores.loss / total

    def _precision(self) -> Any:
        """Where the adapter's layers cast on their own, autocast would only cost time."""
        return contextlib.nullcontext() if self._is_lean else self.accelerator.autocast()

    def create_optimizer(self, model: Any = None) -> torch.optim.Optimizer:
        """The recipe's; with LoRA+ in groups whose learning rates the schedule scales alike."""
        if self._lr_ratio == 1:
            made: torch.optim.Optimizer = super().create_optimizer(model)
            return made
        kind, settings = self.get_optimizer_cls_and_kwargs(self.args, self.model)
        self.optimizer = create_loraplus_optimizer(
            self.model,
            kind,
            **settings,
            loraplus_lr_ratio=self._lr_ratio,
            loraplus_weight_decay=self.args.weight_decay,
        )
        return self.optimizer

    def _get_grad_norm(self, model: Any, grad_norm: Any = None) -> float:
        norm = float(super()._get_grad_norm(model, grad_norm=grad_norm))
        if not self._guard.lets_pass(self.state.global_step + 1, float(self._tr_loss), norm):
            # An optimizer passes over what has no gradient, its moments and decay included.
            model.zero_grad(set_to_none=True)
        return norm

    def _maybe_log_save_evaluate(self, tr_loss: torch.Tensor, *given: Any, **named: Any) -> None:
        super()._maybe_log_save_evaluate(tr_loss, *given, **named)
        # It subtracts the loss from itself, which leaves one that is no number as it is.
        tr_loss.zero_()

    def _get_train_sampler(self, train_dataset: Any = None) -> Any:
        """The longest rows come first: grouping by length begins with them, packing does not."""
        sampler = super()._get_train_sampler(train_dataset)
        seed = self.args.data_seed
        if isinstance(sampler, LengthGroupedSampler):
            # Its own order would follow from the seed of the weights, and from what ran before.
            return GroupedByLength(sampler.lengths, sampler.batch_size, seed)
        if self.args.device.type != "cpu":
            lengths = [len(ids) for ids in self.train_dataset["input_ids"]]
            rows = self.args.per_device_train_batch_size * self.args.gradient_accumulation_steps
            return LongestFirst(lengths, rows, seed)
        return sampler

    def _save_checkpoint(self, model: Any, trial: Any) -> None:
        self._on_save(self)

    def _load_from_checkpoint(self, resume_from_checkpoint: str, model: Any = None) -> None:
        weights = load_file(Path(resume_from_checkpoint) / SAFETENSORS_WEIGHTS_NAME)
        found = set_peft_model_state_dict(self.model, weights)
        lacking = [name for name in found.missing_keys if "lora_" in name]
        if lacking or found.unexpected_keys:
            raise ValueError(f"the adapter's weights are not this run's: {lacking[:3]}")

    def _load_optimizer_and_scheduler(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            state = training_state.load(Path(checkpoint))
            training_state.restore_optimizer(self.optimizer, state["optimizer"])
            training_state.restore_scheduler(self.lr_scheduler, state["scheduler"])

    def _load_rng_state(self, checkpoint: str | None) -> None:
        if checkpoint is not None:
            training_state.restore_random(training_state.load(Path(checkpoint))["random"])


def arguments(training: Training, data: Data, loaded: Loaded, folder: Path) -> SFTConfig:
    """The recipe as TRL's configuration; what the engine does itself is switched off there.

    `folder` is one that TRL wants made, and writes nothing to.
    """
    warmup = training.warmup_steps
    return SFTConfig(
        output_dir=str(folder),
        per_device_train_batch_size=training.per_device_train_batch_size,
        gradient_accumulation_steps=training.gradient_accumulation_steps,
        learning_rate=training.learning_rate,
        lr_scheduler_type=training.lr_scheduler_type,
        warmup_steps=warmup if warmup < 1 else int(warmup),
        num_train_epochs=training.num_train_epochs,
        max_steps=training.max_steps,
        optim=training.optim,
        weight_decay=training.weight_decay,
        max_grad_norm=training.max_grad_norm,
        seed=training.seed,
        data_seed=data.seed,
        bf16=loaded.dtype is torch.bfloat16,
        fp16=loaded.dtype is torch.float16,
        use_cpu=loaded.device == "cpu",
        gradient_checkpointing=training.gradient_checkpointing,
        # Reentrant checkpointing gives wrong gradients, at the same loss, where layers share
        # keys and values.
        gradient_checkpointing_kwargs={"use_reentrant": False},
        dataset_kwargs={"skip_prepare_dataset": True},
        remove_unused_columns=False,
        # Packed sequences are all about as long; single rows of a batch are padded to the longest.
        train_sampling_strategy="random" if data.packing else "group_by_length",
        packing=False,
        logging_steps=1,
        logging_nan_inf_filter=False,
        save_strategy="no",
        disable_tqdm=True,
        report_to="none",
        dataloader_pin_memory=loaded.device == "cuda",
    )


def mapped(sequences: Sequence[TokenSequence], *, with_images: bool = False) -> Dataset:
    """Sequences in a file that is mapped into memory; it is gone when they are let go.

    Of images the names are kept.
    """
    columns = ("input_ids", "labels", "position_ids")
    kinds = {**dict.fromkeys(columns, List(Value("int32"))), "length": Value("int32")}
    features = Features({**kinds, FILES: List(Value("string"))} if with_images else kinds)
    with tempfile.TemporaryDirectory(prefix="gemma-bench-") as folder:
        path = str(Path(folder) / "sequences.arrow")
        with ArrowWriter(path=path, features=features, writer_batch_size=_WRITTEN_ROWS) as writer:
            for one in sequences:
                lists = (one.input_ids, one.labels, one.position_ids)
                row = dict(zip(columns, lists, strict=True))
                images = {FILES: one.images} if with_images else {}
                writer.write({**row, "length": len(one.input_ids), **images})
            writer.finalize()
        return Dataset.from_file(path)


def trainer(
    model: Any,
    loaded: Loaded,
    sequences: Sequence[TokenSequence],
    config: SFTConfig,
    callback: TrainerCallback,
    tally: Tally,
    on_save: Any,
    sight: ImageTokenizer | None = None,
    loraplus_lr_ratio: float = 1.0,
    guard: Guard | None = None,
) -> TokenWeightedTrainer:
    """A trainer for an adapter on prepared sequences; with images where there is `sight`."""
    score_supervised_only()
    collator: Any = Collator(loaded.tokenizer.pad_token_id)
    if sight:
        collator = _seeing(collator, sight, model)
    table = host_embeddings.table_of(model)
    built = TokenWeightedTrainer(
        model=model,
        args=config,
        train_dataset=mapped(sequences, with_images=sight is not None),
        data_collator=TablePrefetcher(collator, table) if table else collator,
        processing_class=loaded.tokenizer,
        callbacks=[callback],
        tally=tally,
        on_save=on_save,
        has_own_head=loaded.has_own_kernels,
        is_lean=loaded.has_own_kernels and use_fused_lora(model),
        loraplus_lr_ratio=loraplus_lr_ratio,
        guard=guard or Guard(),
    )
    keep_float32(built.model)
    return built


def _seeing(collator: Collator, sight: ImageTokenizer, model: Any) -> Any:
    # Runs on text alone need neither Pillow nor an image processor.
    from engine.data.pixel_collator import PixelCollator

    frozen_towers.look_without_graph(model)
    return PixelCollator(collator, sight)
