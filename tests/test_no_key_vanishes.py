"""No column of a row vanishes: it is read, refused by name, counted as harmless, or told."""

from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from engine.data.conversation import UnusableRow
from engine.data.formats import meaning
from engine.data.formats.registry import FORMATS, format_of, read
from engine.sessions.preview import Answer, published
from engine.train import planning
from tests.prepared_rows import FRUIT, prepared
from tests.test_meaning import TREE
from tests.test_tool_text import CALL, TOOL

FRUIT_FROM = [{"from": "human", "value": "Name a fruit."}, {"from": "gpt", "value": "A quince."}]
KNOWN = sorted({*meaning.THOUGHTS, *meaning.HARMLESS, *meaning.LOSS_WEIGHTS,
                *meaning.ROW_WEIGHTS, "label", "kto_tag", "rating", "audio", "chosen", "rejected",
                "score", "parent_id", "tools", "images",
                *(name for form in FORMATS.values() for name in form.columns)})  # fmt: skip
"""Names of columns that mean something somewhere."""
OF_PAIRS = frozenset({"prompt", "chosen", "rejected", *KNOWN})
"""Columns that some shape of compared answers reads."""
WORDS = st.text(st.characters(codec="ascii", categories=["L"]), min_size=1, max_size=6)
SAID = st.one_of(
    WORDS, st.integers(-1, 9), st.floats(0, 1), st.booleans(), st.none(),
    st.lists(WORDS, max_size=2), st.sampled_from([{"a": 1}, FRUIT, [CALL], [{}], ""]),
)  # fmt: skip
ANSWERS = {"completion", "response", "output", "answer", "answers"}
"""Columns of an answer, of which a row's first is read."""
ONE_ANSWER = {"prompt_completion", "question_response", "instruction_output",
              "instruction_input_output"}  # fmt: skip
NAMES = st.one_of(WORDS, st.sampled_from(KNOWN))


ROWS: dict[str, dict[str, Any]] = {
    "messages": {"messages": FRUIT},
    "sharegpt": {"conversations": FRUIT_FROM},
    "alternating": {"data": ["a", "b"]},
    "reply_tree": {"prompt": TREE},
    "xlam": {"query": "q", "answers": [CALL], "tools": [TOOL]},
    "glaive": {"system": "", "chat": "USER: a\nASSISTANT: b"},
    "gemini": {"contents": [{"parts": "a"}, {"role": "model", "parts": "b"}]},
    "nemotron_persona": {"uuid": "1", "persona": "p", "professional_persona": "q"},
    "usr_bot": {"text": "<usr> a <bot> b"},
    "text": {"text": "words"},
    "title_text": {"title": "t", "text": "words"},
    "prompt_completion": {"prompt": "p", "completion": "c"},
    "question_response": {"question": "p", "response": "c"},
    "instruction_output": {"instruction": "p", "output": "c"},
    "instruction_input_output": {"instruction": "p", "input": "i", "output": "c"},
    "chosen": {"prompt": "p", "chosen": "c", "rejected": "d"},
}
"""One row of each format."""


@settings(max_examples=300)
@given(st.sampled_from(sorted(FORMATS)), st.dictionaries(NAMES, SAID, max_size=5))
def test_no_key_of_a_row_vanishes(name: str, more: dict[str, Any]) -> None:
    """A key is its format's, empty, refused, or told."""
    own = ROWS[name]
    record = {**more, **own}
    try:
        row = read(record, name)
    except UnusableRow:
        return
    if name == "chosen":
        # Which columns are read depends on the shape of the row.
        meant = {key for key, value in record.items() if not meaning.is_empty(value)}
        assert meant <= {*row.unread, *OF_PAIRS}
        return
    assert FORMATS[name].fits(record)
    for key, value in record.items():
        is_read = key in FORMATS[name].columns or key in meaning.ROW_WEIGHTS
        if name in ONE_ANSWER and key in ANSWERS:
            continue
        is_known = is_read or meaning.is_empty(value)
        assert is_known != (key in row.unread)
    assert format_of(own) == name


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


@settings(
    max_examples=30, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture]
)
@given(st.lists(st.dictionaries(NAMES, SAID, max_size=4), max_size=4))
def test_plan_and_preview_tell_the_same_of_every_row_and_key(
    tmp_path: Path, tokenizer: Any, more: list[dict[str, Any]]
) -> None:
    records = [{"messages": FRUIT}, *({**row, "messages": FRUIT} for row in more)]
    rows = prepared(tmp_path / "rows.jsonl", tokenizer, records, format="messages")
    recipe: Any = SimpleNamespace(data=SimpleNamespace(packing=False))
    (planned,) = planning.accounts(recipe, rows, 0)["sources"]
    (previewed,) = published(Answer(1, rows.sources, (), 512, ""))["sources"]
    assert {key: planned[key] for key in previewed} == previewed
    assert sum(previewed["dropped"].values()) + previewed["taken"] == len(records)
    assert previewed["dropped"].keys() == previewed["first_dropped"].keys()
    assert previewed["noted"].keys() == previewed["first_noted"].keys()
