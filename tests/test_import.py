"""Configurations of other trainers, in the shapes that these publish, as recipes."""

import contextlib
import json
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from engine.problems import Refusal
from engine.recipe import dotted, files, validate
from engine.recipe.schema import Recipe
from tests import command
from tests.test_command_line import refused
from workbench.other_trainers import mapping, reading, recipe_text, sources

ALL = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")
AXOLOTL = """\
base_model: google/gemma-3-4b-it
load_in_4bit: true
chat_template: gemma3
datasets:
  - path: own/chats
    type: chat_template
    field_messages: talk
    message_property_mappings: {role: from, content: value}
    split: train[:5%]
  - path: data/towns.jsonl
    type: {field_instruction: ask, field_output: reply}
    shards: 4
  - {path: own/texts, type: completion, field: body, name: en, split: validation}
  - {path: own/alpaca, type: alpaca}
dataset_prepared_path: last
val_set_size: 0.02
adapter: qlora
lora_model_dir:
sequence_len: 2048
sample_packing: true
lora_r: 32
lora_alpha: 16
lora_target_linear: true
wandb_project:
gradient_accumulation_steps: 4
micro_batch_size: 2
optimizer: adamw_bnb_8bit
lr_scheduler: rex
learning_rate: 2e-4
bf16: auto
gradient_checkpointing: true
flash_attention: true
warmup_ratio: 0.1
saves_per_epoch: 1
adam_beta2: 0.95
"""
LLAMA_FACTORY = """\
model_name_or_path: google/gemma-3-1b-it
stage: sft
do_train: true
finetuning_type: lora
lora_rank: 4
lora_target: q_proj,v_proj
dataset: towns, talks, own/online
template: gemma3
cutoff_len: 1024
max_samples: 1000
mask_history: true
output_dir: saves/x
learning_rate: 1.0e-4
per_device_train_batch_size: 1
num_train_epochs: 2.0
save_steps: 0.5
quantization_bit: 4
val_size: 200
neftune_noise_alpha: 5
"""
DATASETS = {
    "towns": {"file_name": "towns.jsonl", "columns": {"prompt": "ask", "response": "reply"}},
    "talks": {"hf_hub_url": "own/talks", "formatting": "sharegpt", "subset": "en",
              "columns": {"messages": "messages"}, "tags": {"role_tag": "role"}},
}  # fmt: skip
TRL = """\
model_name_or_path: google/gemma-3-270m-it
dataset_name: own/chats
dataset_config: main
dataset_train_split: train_sft
use_peft: true
lora_target_modules: [q_proj, k_proj]
dtype: bfloat16
max_length: 4096
completion_only_loss: true
packing: false
eval_strategy: steps
optim: adafactor
seed: 7
"""
UNSLOTH = """\
from unsloth import FastModel
open("ran", "w").close()
LENGTH = 4096
model, tokenizer = FastModel.from_pretrained(
    "unsloth/gemma-3-4b-it-unsloth-bnb-4bit", max_seq_length=LENGTH, full_finetuning=False)
model = FastModel.get_peft_model(model, r=8, lora_alpha=8, bias="none", random_state=3407,
    target_modules=["q_proj", "v_proj"], finetune_vision_layers=True)
rows = load_dataset("own/chats", "main", split="train[:500]")
trainer = SFTTrainer(model=model, train_dataset=rows, args=SFTConfig(
    per_device_train_batch_size=2, warmup_steps=5, max_steps=30, learning_rate=2e-4,
    optim="adamw_8bit", weight_decay=compute(1)))
trainer = train_on_responses_only(trainer, instruction_part="user")
"""
FILES = {"ax.yml": AXOLOTL, "lf.yaml": LLAMA_FACTORY, "trl.yaml": TRL, "uns.py": UNSLOTH}
EXPECTED: dict[str, dict[str, Any]] = {
    "ax.yml": {
        "model.path": "google/gemma-3-4b-it", "model.quantization": "nf4", "adapter.r": 32,
        "adapter.lora_alpha": 16, "adapter.target_modules": ALL, "data.heldout": 0.02,
        "data.max_length": 2048, "data.packing": True, "training.optim": "adamw_8bit",
        "training.gradient_accumulation_steps": 4, "training.per_device_train_batch_size": 2,
        "training.lr_scheduler_type": "cosine", "training.learning_rate": 2e-4,
        "training.warmup_steps": 0.1, "training.num_train_epochs": 1.0,
    },
    "lf.yaml": {
        "model.path": "google/gemma-3-1b-it", "model.quantization": "nf4", "adapter.r": 4,
        "adapter.lora_alpha": 8, "adapter.target_modules": ("q_proj", "v_proj"),
        "data.max_length": 1024, "data.loss_on": "last", "data.heldout": None,
        "training.learning_rate": 1e-4, "training.per_device_train_batch_size": 1,
        "training.num_train_epochs": 2.0, "training.lr_scheduler_type": "linear",
        "training.warmup_steps": 0, "training.save_steps": 0, "training.seed": 42,
    },
    "trl.yaml": {
        "model.path": "google/gemma-3-270m-it", "model.dtype": "bfloat16", "adapter.r": 16,
        "adapter.lora_dropout": 0.05, "adapter.target_modules": ("q_proj", "k_proj"),
        "data.max_length": 4096, "data.loss_on": "completion", "data.packing": False,
        "training.learning_rate": 2e-5, "training.num_train_epochs": 3.0,
        "training.optim": "adamw_torch", "training.seed": 7, "data.seed": 7,
    },
    "uns.py": {
        "model.path": "unsloth/gemma-3-4b-it", "model.quantization": "nf4", "adapter.r": 8,
        "adapter.lora_alpha": 8, "adapter.target_modules": ("q_proj", "v_proj"),
        "data.max_length": 4096, "data.loss_on": "assistant", "training.max_steps": 30,
        "training.warmup_steps": 5, "training.optim": "adamw_8bit", "training.seed": 3407,
    },
}  # fmt: skip
LOST = {
    "ax.yml": {"lr_scheduler", "saves_per_epoch", "adam_beta2", "datasets.1.shards"},
    "lf.yaml": {"save_steps", "val_size", "neftune_noise_alpha"},
    "trl.yaml": {"eval_strategy", "optim"},
    "uns.py": {"finetune_vision_layers", "weight_decay"},
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The current folder, with a configuration of each trainer and what they name."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "data").mkdir()
    (tmp_path / "data/towns.jsonl").write_text('{"ask": "Where?", "reply": "There."}\n')
    (tmp_path / "data/dataset_info.json").write_text(json.dumps(DATASETS))
    for name, text in FILES.items():
        (tmp_path / name).write_text(text)
    return tmp_path


def imported(name: str, *overrides: str) -> tuple[Recipe, recipe_text.Imported]:
    made = recipe_text.imported(reading.read(Path(name)), overrides)
    Path("made.toml").write_text(made.text)
    return validate.load("made.toml", [], on_paper=True)[0], made


@pytest.mark.parametrize("name", FILES)
def test_every_key_becomes_a_setting_or_is_named(name: str) -> None:
    recipe, made = imported(name)
    dumped = recipe.model_dump()
    assert {key: dotted.get(dumped, key) for key in EXPECTED[name]} == EXPECTED[name]
    named = {row.key for row in made.rows}
    assert {*reading.read(Path(name)).settings} <= named
    assert {row.key for row in made.rows if row.is_lost} == LOST[name]
    lost = made.text.partition("# Not mapped:\n")[2].splitlines()
    assert {line.split(": ")[0] for line in lost} == {f"# {key}" for key in LOST[name]}
    assert made.text.startswith(files.SCHEMA_DIRECTIVE)
    assert not Path("ran").exists()


def test_rows_are_found_with_their_formats(here: Path) -> None:
    def read(name: str) -> list[dict[str, Any]]:
        return [source.model_dump(exclude_unset=True) for source in imported(name)[0].data.sources]

    towns = {
        "path": str(here / "data/towns.jsonl"), "format": "instruction_output",
        "columns": {"instruction": "ask", "output": "reply"},
    }  # fmt: skip
    assert read("ax.yml") == [
        {"id": "own/chats", "rows": 0.05, "format": "sharegpt",
         "columns": {"conversations": "talk"}},
        towns,
        {"id": "own/texts", "config": "en", "split": "validation", "format": "text",
         "columns": {"text": "body"}},
        {"id": "own/alpaca"},
    ]  # fmt: skip
    assert read("lf.yaml") == [
        {**towns, "rows": 1000},
        {"id": "own/talks", "config": "en", "format": "messages", "rows": 1000},
        {"id": "own/online", "rows": 1000},
    ]
    assert read("trl.yaml") == [{"id": "own/chats", "config": "main", "split": "train_sft"}]
    assert read("uns.py") == [{"id": "own/chats", "config": "main", "rows": 500}]


def test_a_recipe_is_written_and_its_rows_can_be_seen(here: Path) -> None:
    code, out, err = command.call(here, "import", "lf.yaml", "--data", "data/towns.jsonl",
                                  "--set", "model.path=embedded")  # fmt: skip
    assert (code, err) == (0, "")
    lines = {line.split("  ")[0]: line for line in out.splitlines()}
    assert "lora_alpha, by default" in lines
    assert lines["neftune_noise_alpha"].endswith("NOT MAPPED: gemma-bench has nothing like it")
    assert lines["stage"].endswith("needs no key: it is so unasked")
    assert "but for 3 keys not mapped" in out
    seen = out.splitlines()[-1].partition("gemma-bench ")[2].split()
    assert seen == ["preview", "lf.toml"]
    columns = "columns={instruction='ask',output='reply'}"
    code, out, err = command.call(
        here, *seen, "--set", "data.sources.0.format=instruction_output",
        "--set", f"data.sources.0.{columns}", "--set", "model.quantization=none",
    )  # fmt: skip
    assert (code, err) == (0, "")
    assert "Where?" in out


BOMB = "a: &a [1,1,1,1,1,1,1,1]\n" + "".join(
    f"{new}: &{new} [{', '.join([f'*{old}'] * 8)}]\n"
    for old, new in zip("abcdefg", "bcdefgh", strict=True)
)


@pytest.mark.parametrize(
    ("text", "said"),
    [
        (TRL.replace("gemma-3-270m-it", "llama"), "gemma-bench trains Gemma alone"),
        (TRL.replace("model_name_or_path", "model_of_mine"), "it names no model that can be told"),
        (TRL.replace("dataset_name", "rows_of_mine"), "it names no rows"),
        (LLAMA_FACTORY.replace("sft", "dpo"), "dpo is no supervised fine-tuning"),
        (f"{AXOLOTL}rl: kto\n", "kto is no supervised fine-tuning"),
        ("colour: blue\n", "it has no key of Axolotl, LLaMA-Factory, Unsloth, TRL"),
        ("- a\n- b\n", "it holds no keys with values"),
        ("a: [", "it is neither YAML nor a script"),
        (BOMB, "it holds more than 10,000 values"),
        ("[" * 5000, "it is neither YAML nor a script"),
        ("!!python/object/apply:os.system ['touch ran']", "it is neither YAML nor a script"),
    ],
)
def test_what_no_recipe_can_come_of_is_refused(here: Path, text: str, said: str) -> None:
    (here / "mine.yaml").write_text(text)
    with pytest.raises(Refusal) as refusal:
        imported("mine.yaml")
    assert said in str(refusal.value)
    assert not (here / "ran").exists()


def test_bad_input_is_told_once(here: Path) -> None:
    (here / "trl.toml").touch()
    (here / "torn.py").write_text("def (")
    for arguments, said in (
        (["gone.yaml"], "no such file"),
        (["torn.py"], "it is neither YAML nor a script"),
        (
            ["trl.yaml"],
            "trl.toml: it is there already. Give another name with --out",
        ),
        (["trl.yaml", "--out", "new.yaml"], "a recipe ends in .toml"),
        (["trl.yaml", "--out", "gone/new.toml"], "no such file"),
        (["ax.yml", "--set", "adapter.r"], "'adapter.r' is not KEY=VALUE"),
    ):
        code, message = refused(here, "import", *arguments)
        assert (code, said in message) == (2, True), message


KNOWN = sorted({*mapping._OF, *mapping._NEEDLESS, *mapping._LOST, *sources.KEYS})
VALUE = st.recursive(
    st.none() | st.booleans() | st.integers(-9, 10**6) | st.floats(-1, 9) | st.text(max_size=8)
    | st.sampled_from(["lora", "all", "2e-4", "own/rows", "train[:5%]", "adamw_torch"]),
    lambda inner: st.lists(inner, max_size=3)
    | st.dictionaries(st.sampled_from(["path", "type", "split", "name"]), inner, max_size=3),
    max_leaves=5,
)  # fmt: skip


@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.dictionaries(st.sampled_from(KNOWN), VALUE, max_size=12), st.sampled_from(sorted(FILES)))
def test_values_of_any_kind_become_a_sound_recipe(changes: dict[str, Any], name: str) -> None:
    document = dict(reading.read(Path(name)).settings) | changes
    configuration = reading.Configuration(Path(name), reading.read(Path(name)).trainer, document)
    with contextlib.suppress(Refusal):
        made = recipe_text.imported(configuration, [])
        Path("made.toml").write_text(made.text)
        Recipe.model_validate(tomllib.loads(made.text))
        assert document.keys() <= {row.key for row in made.rows}
