"""The recipe: what a user chose, as frozen sections."""

from pathlib import Path
from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from engine.gemma.lora_targets import ATTENTION, MLP, Targets
from engine.gemma.shapes import EMBEDDED
from engine.recipe import dotted

MAX_COUNT = 2**31 - 1
"""Of steps, rows, tokens and the like: what 32 bits hold, and nobody trains so much."""
Count = Annotated[int, Field(ge=1, le=MAX_COUNT)]
CountOrNone = Annotated[int, Field(ge=0, le=MAX_COUNT)]
Seed = Annotated[int, Field(ge=0, lt=2**32)]
"""NumPy's and transformers' `set_seed` take no other."""


class _Section(BaseModel):
    model_config = ConfigDict(
        frozen=True,
        extra="forbid",
        strict=True,
        allow_inf_nan=False,
        use_attribute_docstrings=True,
        title="",
    )


class Model(_Section):
    """Which model, and in which numbers it is held."""

    path: str = EMBEDDED
    """A local folder or GGUF file, a hub id such as google/gemma-3-1b-it, or "embedded"."""
    revision: str | None = None
    """Branch, tag or commit of a hub model."""
    dtype: Literal["auto", "bfloat16", "float16", "float32"] = "auto"
    """Number format of the frozen weights and of the arithmetic."""
    quantization: Literal["none", "nf4"] = "none"
    """nf4 holds the language model's linear weights and its experts in 4 bits (QLoRA)."""
    host_tables: Literal["auto", True, False] = "auto"
    """Keep per-layer embeddings (E2B, E4B) in host memory; auto: where a step fits well so only."""


class Adapter(_Section):
    """What is trained."""

    method: Literal["lora", "dora"] = "lora"
    """dora trains direction and magnitude of a weight apart; each step takes longer."""
    r: Count = 16
    """Rank of the update."""
    lora_alpha: Count = 32
    """The update is scaled by lora_alpha / r."""
    use_rslora: bool = False
    """Scale the update by lora_alpha / sqrt(r) instead, so that high ranks learn as fast."""
    lora_dropout: float = Field(default=0.0, ge=0.0, lt=1.0)
    target_modules: Targets = ATTENTION + MLP
    """Projections of the language model, or one expression that matches their whole names."""
    target_experts: bool = False
    """Adapt every expert of 26B-A4B too, each with rank r; they must not be quantised."""


Format = Literal[
    "messages", "sharegpt", "instruction_input_output", "instruction_output",
    "question_response", "prompt_completion", "reply_tree", "alternating", "xlam", "glaive",
    "gemini", "nemotron_persona", "usr_bot", "title_text", "text", "chosen",
]  # fmt: skip
"""Formats of rows that can be trained on, by the names that recipes give them."""


class Filter(_Section):
    """Which rows are taken by their length, in tokens before truncation."""

    min_tokens: CountOrNone = 0
    max_tokens: CountOrNone = 0
    """0 sets no bound."""


class Source(_Section):
    """Rows of one file, folder or pattern (`path`), or of a dataset on the hub (`id`)."""

    path: str | None = None
    """A .jsonl, .json, .csv, .tsv, .parquet, .arrow or .xlsx file, a folder, or a pattern."""
    id: str | None = None
    """A dataset on the hub, such as HuggingFaceH4/no_robots."""
    config: str | None = None
    split: str | None = Field(default=None, min_length=1)
    """Which part of a folder, pattern or hub dataset; train where none is given."""
    revision: str | None = None
    """Branch, tag or commit of a hub dataset."""
    name: str | None = None
    """What reports call it; the file's name or the id where none is given."""
    rows: int | float | None = Field(default=None, gt=0, le=MAX_COUNT)
    """A count, or a share below 1, drawn by the seed; all where none is given."""
    weight: float = Field(default=1.0, gt=0.0, le=1000.0)
    """How often each row is seen in one epoch; a part of 1 is drawn by the seed."""
    seed: Seed = 0
    """Which rows are drawn."""
    format: Format | None = None
    """Told from the rows where none is given."""
    columns: dict[str, str] = {}
    """The format's name of a column = the file's."""
    filter: Filter = Filter()

    @property
    def label(self) -> str:
        """The source's name in reports."""
        return self.name or self.id or Path(self.path or "").name


class Data(_Section):
    """What is trained on."""

    sources: tuple[Source, ...] = Field(min_length=1, strict=False)
    max_length: int = Field(default=512, ge=8, le=MAX_COUNT)
    """Tokens a row may have."""
    truncation: Literal["cut_end", "cut_middle", "drop"] = "cut_end"
    """What becomes of longer rows: cut at the end, cut by exchanges in the middle, or dropped."""
    packing: bool = False
    """Several rows in one sequence, kept apart by their positions."""
    loss_on: Literal["assistant", "last", "completion", "all"] = "assistant"
    """assistant: every answer; last: the last one; completion: all after the last prompt; all."""
    thinking: Literal["keep", "each", "strip", "refuse"] = "keep"
    """What becomes of thoughts in answers. keep: answers whose thought the template leaves out, as
    it does in earlier turns, carry no loss; each: a row for each answer, so that no thought is left
    out; refuse drops their rows."""
    template: Literal["engine", "model"] = "engine"
    """engine: TRL's template with the answers marked; model: the one in the model's tokenizer."""
    strict: bool = False
    """Refuse to train where any row would be dropped."""
    heldout: float | str | None = None
    """Conversations that are never trained on but kept for judging: a share, or a file of them."""
    seed: Seed = 0
    """Order of the rows, and which are held out."""


class Training(_Section):
    """How it is trained; names as in transformers' TrainingArguments."""

    per_device_train_batch_size: Count = 4
    gradient_accumulation_steps: Count = 1
    learning_rate: float = Field(default=2e-4, gt=0.0, le=1e30)
    lr_scheduler_type: Literal["linear", "cosine", "constant", "constant_with_warmup"] = "cosine"
    warmup_steps: float = Field(default=0.03, ge=0.0, le=MAX_COUNT)
    """A count, or below 1 a share of all steps."""
    num_train_epochs: float = Field(default=1.0, gt=0.0, le=1e6)
    max_steps: int = Field(default=-1, ge=-1, le=MAX_COUNT)
    """Above 0 it replaces num_train_epochs."""
    optim: Literal["adamw_torch", "adamw_8bit", "paged_adamw_8bit", "paged_adamw_32bit", "sgd"] = (
        "adamw_torch"
    )
    loraplus_lr_ratio: float = Field(default=1.0, gt=0.0, le=1e6)
    """LoRA+: B and DoRA's magnitudes learn at learning_rate times this; 1 is plain LoRA."""
    weight_decay: float = Field(default=0.0, ge=0.0, le=1000.0)
    max_grad_norm: float = Field(default=1.0, gt=0.0)
    gradient_checkpointing: bool = True
    """Compute activations again in the backward pass instead of keeping them."""
    save_steps: CountOrNone = 0
    """A checkpoint every so many steps; 0 saves the adapter at the end only."""
    save_total_limit: Count = 2
    seed: Seed = 0
    """Adapter initialisation and dropout."""
    on_nonfinite: Literal["stop", "skip"] = "stop"
    """A loss or gradient that is no number: end before it reaches the weights, or skip the step."""
    max_skipped_steps: Count = 3
    """With skip, how many steps; one more ends the run after all."""
    on_failed_save: Literal["go_on", "stop"] = "go_on"
    """A checkpoint that the disk won't take: warn and train on, or end the run."""
    on_out_of_memory: Literal["stop", "retry"] = "stop"
    """retry: go on with fewer rows at a time and more accumulation, which learns the same."""
    deterministic: bool = False
    """Take only operations that give the same bits again; an error where there is none."""


class Samples(_Section):
    """Fixed prompts that base and adapter answer while the run goes on."""

    prompts: tuple[str, ...] = Field(default=(), strict=False)
    rows: CountOrNone = 0
    """So many questions of the data are asked too: of rows held out, else of rows trained on."""
    every: CountOrNone = 0
    """Steps between samples; 0 samples before training and at the end only."""
    max_new_tokens: Count = 64

    @property
    def are_any(self) -> bool:
        """Whether anything is asked."""
        return bool(self.prompts or self.rows)


class Score(_Section):
    """Questions with an exact fact; trained ones are the rows of data that carry one."""

    heldout: str
    """A file like the data, with wordings that are not trained on."""
    general: str | None = None
    """A file like it, with questions on other things, of which the base answers some rightly."""
    max_new_tokens: Count = 48


class Recipe(_Section):
    """One run, whole."""

    model: Model = Model()
    adapter: Adapter = Adapter()
    data: Data
    training: Training = Training()
    samples: Samples = Samples()
    score: Score | None = None


SECTIONS: dict[str, type[BaseModel]] = {
    "model": Model,
    "adapter": Adapter,
    "data": Data,
    "training": Training,
    "samples": Samples,
    "score": Score,
}
FIELDS = dotted.fields(SECTIONS)
"""Every setting by its dotted key."""
