"""The installed TRL's own preparation of the same rows, id by id, and where ours differs."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from datasets import Dataset
from transformers import AutoTokenizer
from trl import SFTConfig, SFTTrainer

from engine.data.batches import pack
from engine.data.encoding.template import template
from engine.data.prepare import Prepared
from tests import prepared_rows

Pairs = list[tuple[list[int], list[int]]]
"""Ids and labels of each row."""
IGNORED = -100
TALKS: list[dict[str, Any]] = [
    {"messages": [{"role": role, "content": said} for role, said in talk]}
    for talk in (
        (("user", "Name a fruit."), ("assistant", "A quince.")),
        (("system", "Be brief."), ("user", "Why is it so?"), ("assistant", "It is not."),
         ("user", "More?"), ("assistant", "No more than that, as I said.")),
        (("user", "Long " * 60), ("assistant", "word " * 70)),
    )
]  # fmt: skip
COMPLETIONS = [{"prompt": t["messages"][:-1], "completion": t["messages"][-1:]} for t in TALKS]


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    loaded = AutoTokenizer.from_pretrained(gemma_folder("embedded"))
    loaded.chat_template = template("gemma4").text
    return loaded


@pytest.fixture
def ours(tmp_path: Path, tokenizer: Any) -> Callable[..., Prepared]:
    def prepared(rows: list[dict[str, Any]], **options: Any) -> Prepared:
        return prepared_rows.prepared(tmp_path / "rows.jsonl", tokenizer, rows, **options)

    return prepared


@pytest.fixture
def trl(tmp_path: Path, tokenizer: Any) -> Callable[..., Dataset]:
    """SFTTrainer's preparation, without its model; `masked` is assistant, completion or nothing."""

    def prepared(rows: list[dict[str, Any]], masked: str, **options: Any) -> Dataset:
        config = SFTConfig(output_dir=str(tmp_path), use_cpu=True, bf16=False,
                           assistant_only_loss=masked == "assistant", **options)  # fmt: skip
        trainer = object.__new__(SFTTrainer)
        vars(trainer).update(
            _is_vlm=False, _is_vision_dataset=False, args=config, _tokenizer=tokenizer,
            assistant_only_loss=masked == "assistant", chat_template=tokenizer.chat_template,
            completion_only_loss=masked == "completion",
        )  # fmt: skip
        data = Dataset.from_list(rows)
        return trainer._prepare_dataset(data, tokenizer, config, config.packing, None, "train")

    return prepared


def of_ours(prepared: Prepared) -> Pairs:
    return [(row.ids, row.labels) for row in (prepared.rows[n] for n in range(len(prepared.rows)))]


def of_trl(rows: Dataset) -> Pairs:
    return [
        (list(ids), list(labels))
        for ids, labels in zip(rows["input_ids"], rows["labels"], strict=True)
    ]


@pytest.mark.parametrize(("max_length", "kept"), [(512, 3), (100, 2), (17, 1)])
def test_masks_and_cuts_are_trl_s(max_length: int, kept: int, ours: Any, trl: Any) -> None:
    """Of rows that keep some loss: TRL drops the others as we do, unless it packs."""
    cut = of_ours(ours(TALKS, max_length=max_length, truncation="cut_end"))
    assert cut == of_trl(trl(TALKS, "assistant", max_length=max_length))
    assert len(cut) == kept
    packed = trl(TALKS, "assistant", max_length=max_length, packing=True)
    assert sum(map(len, packed["seq_lengths"])) == len(TALKS)


def test_completions_are_trl_s(ours: Any, trl: Any) -> None:
    completions = of_trl(trl(COMPLETIONS, "completion", max_length=512))
    assert of_ours(ours(COMPLETIONS, max_length=512)) == completions
    assert of_ours(ours(TALKS, max_length=512, loss_on="last")) == completions


def test_as_many_sequences_are_packed_of_the_same_rows(ours: Any, trl: Any) -> None:
    """Best-fit decreasing in both; which of equally long rows goes where may differ."""
    rows = [
        {"messages": [{"role": "user", "content": f"{'w ' * (n * 7 % 60)}{n}"},
                      {"role": "assistant", "content": "v " * (n * 11 % 50) + "v"}]}
        for n in range(40)
    ]  # fmt: skip
    prepared = ours(rows, max_length=128, truncation="cut_end")
    sequences = pack(prepared.rows, 128)
    packed = trl(rows, "assistant", max_length=128, packing=True)
    assert len(sequences) == len(packed) < len(rows)
    lengths = [sorted(len(prepared.rows[row].ids) for row in group) for group in sequences.groups]
    assert sorted(lengths) == sorted(map(sorted, packed["seq_lengths"]))
    apart = [labels for _, labels in of_ours(prepared)]
    assert sum(map(sum, apart)) == sum(map(sum, packed["labels"]))


def test_where_we_differ_from_trl(ours: Any, trl: Any, tokenizer: Any) -> None:
    """As docs/data.md says: the first token, questions as text, bare text, and what is cut."""
    whole, theirs = (
        of_ours(ours(TALKS, max_length=512, loss_on="all")),
        of_trl(trl(TALKS, "nothing", max_length=512)),
    )
    assert [(ids, labels[1:]) for ids, labels in whole] == [(i, labels[1:]) for i, labels in theirs]
    assert {labels[0] for _, labels in whole} == {IGNORED}
    text = [{"prompt": "The sky is", "completion": " blue."}]
    (ids, _), (bare, _) = (
        of_ours(ours(text))[0],
        of_trl(trl(text, "completion", max_length=512))[0],
    )
    assert tokenizer.decode(ids).startswith("<bos><|turn>user\nThe sky is<turn|>")
    assert tokenizer.decode(bare) == "The sky is blue.<eos>"
    words = [{"text": "Bare words."}]
    (ids, _), (bare, _) = of_ours(ours(words))[0], of_trl(trl(words, "nothing", max_length=512))[0]
    assert tokenizer.decode(ids) == f"<bos>{tokenizer.decode(bare)}"
    long = [{"messages": [*TALKS[0]["messages"] * 4, *TALKS[1]["messages"][1:3]]}]
    ((ids, _),) = of_ours(ours(long, max_length=60, truncation="cut_middle"))
    ((bare, _),) = of_trl(trl(long, "assistant", max_length=60))
    assert ["It is not." in tokenizer.decode(tokens) for tokens in (ids, bare)] == [True, False]
