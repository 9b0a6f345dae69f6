"""Published rows, where a folder of them is at hand: each is kept or dropped by a stated rule.

GEMMA_BENCH_REAL_ROWS names the folder; the rows are under licences of their own, and not here.
"""

import json
import os
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.prepare import prepare
from engine.problems import Refusal
from engine.recipe.schema import Data, Source

FOLDER = Path(os.environ.get("GEMMA_BENCH_REAL_ROWS", "/nowhere"))
pytestmark = pytest.mark.skipif(
    not FOLDER.is_dir(), reason="GEMMA_BENCH_REAL_ROWS names no folder of published rows"
)
DUPLICATE, PLACEHOLDER = "a duplicate of an earlier row", "an unfilled {{placeholder}}"
CONTROLS, LABEL = "control characters in the text", "a label beside a text"
IMAGES = "images, which the model can't see"
FFFD = "replacement characters (U+FFFD) in the text"
JUDGED, UNKNOWN = "rows that judge answers", "no known format has the columns"
KEPT: dict[str, tuple[str, int, dict[str, int]]] = {
    "c4_text": ("text", 196, {FFFD: 4}),
    "gpteacher_roleplay": ("instruction_input_output", 200, {}),
    "gsm8k_test": ("question_response", 300, {}),
    "gsm8k_train": ("question_response", 500, {}),
    "identity_placeholders": ("instruction_input_output", 6, {PLACEHOLDER: 85}),
    "kmmlu_dev_cot": ("question_response", 225, {}),
    "koalpaca_v1": ("instruction_input_output", 500, {}),
    "lithuanian_messages_role_model": ("messages", 13, {}),
    "mmlu_dev_cot": (
        "question_response",
        278,
        {"content that is null": 1, DUPLICATE: 1, CONTROLS: 2},
    ),
    "open_korean_instructions_usrbot": ("usr_bot", 500, {}),
    "sft_v1_messages_parts": ("messages", 449, {PLACEHOLDER: 50, DUPLICATE: 1}),
    "sharegpt_dummy_vicuna": ("sharegpt", 500, {}),
    "toolcall_glaive_en": ("sharegpt", 265, {DUPLICATE: 35}),
}
REFUSED = {
    "bfcl_simple_python": UNKNOWN,
    "bfcl_simple_python_answers": UNKNOWN,
    "dpo_en_sharegpt": JUDGED,
    "ifeval": UNKNOWN,
    "logickor_questions": UNKNOWN,
    "mllm_images": f"6 x {IMAGES}",
    "mllm_v1_parts": f"24 x {IMAGES}",
    "mt_bench": UNKNOWN,
    "nasty_rows": UNKNOWN,
}
"""Questions without answers, judged answers, images: nothing that supervised training can take."""
NASTY = {
    "kept": 9,
    CONTROLS: 2,
    LABEL: 1,
    FFFD: 2,
    JUDGED: 7,
    UNKNOWN: 1,
    "an empty answer": 1,
    PLACEHOLDER: 2,
}
"""What becomes of rows that somebody collected for what is wrong with them, each on its own."""


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


def data(path: Path) -> Data:
    return Data(sources=(Source(path=str(path)),), max_length=100_000)


def test_every_file_is_accounted_for() -> None:
    assert {path.stem for path in FOLDER.glob("*.jsonl")} == set(KEPT) | set(REFUSED)


@pytest.mark.parametrize("name", KEPT)
def test_rows_are_kept_or_dropped_by_reason(name: str, tokenizer: Any) -> None:
    path = FOLDER / f"{name}.jsonl"
    (told,) = prepare(data(path), tokenizer, template("gemma4")).sources
    assert (told.format, told.num_taken, dict(told.dropped)) == KEPT[name]
    with path.open() as file:
        assert told.num_taken + sum(told.dropped.values()) == sum(
            1 for line in file if line.strip()
        )


@pytest.mark.parametrize("name", REFUSED)
def test_what_can_not_be_trained_on_is_refused_with_its_reason(name: str, tokenizer: Any) -> None:
    with pytest.raises(Refusal) as refused:
        prepare(data(FOLDER / f"{name}.jsonl"), tokenizer, template("gemma4"))
    assert REFUSED[name] in str(refused.value)


def test_nasty_rows_land_under_their_reasons(tokenizer: Any, tmp_path: Path) -> None:
    found: Counter[str] = Counter()
    path = tmp_path / "row.jsonl"
    for line in (FOLDER / "nasty_rows.jsonl").read_text().splitlines():
        path.write_text(json.dumps(json.loads(line)["data"]) + "\n")
        try:
            prepare(data(path), tokenizer, template("gemma4"))
            found["kept"] += 1
        except Refusal as refused:
            found[next((why for why in NASTY if why in str(refused)), str(refused))] += 1
    assert found == NASTY
