"""What holds for any rows: packing loses nothing, mixing follows its seeds, prompts compare."""

import json
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as hypothesis_settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

from engine.data.batches import pack
from engine.data.conversation import UnusableRow
from engine.data.encoding.template import template
from engine.data.encoding.tokens import IGNORED, Tokens
from engine.data.prepare import Prepared, prepare
from engine.data.preview_rows import differing
from engine.data.row_counts import histogram
from engine.data.row_pipeline import parsed
from engine.recipe.schema import Data, Source

few = hypothesis_settings(
    max_examples=50, deadline=None, suppress_health_check=list(HealthCheck), database=None
)
TURN = 105
tokens = st.lists(st.integers(3, 9), max_size=12)


@given(sizes=st.lists(st.integers(1, 40), max_size=60), room=st.integers(0, 30))
@few
def test_packing_keeps_every_token_once_and_restarts_positions(sizes: list[int], room: int) -> None:
    rows = [
        Tokens([1000 * n + i for i in range(size)], [IGNORED] * size, False)
        for n, size in enumerate(sizes)
    ]
    length = max(sizes, default=1) + room
    packed = pack(rows, length)
    assert all(len(one.input_ids) <= length for one in packed)
    ids = [token for one in packed for token in one.input_ids]
    assert sorted(ids) == [token for row in rows for token in row.ids]
    positions = [place for one in packed for place in one.position_ids]
    assert positions == [token % 1000 for token in ids]
    # Two sequences that fit in one would have been one.
    lengths = sorted(len(one.input_ids) for one in packed)
    assert len(lengths) < 2 or lengths[0] + lengths[1] > length


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


sources = st.lists(
    st.fixed_dictionaries(
        {"count": st.integers(1, 8), "rows": st.none() | st.integers(1, 9) | st.just(0.5),
         "weight": st.sampled_from((0.5, 1.0, 1.5, 2.0)), "seed": st.integers(0, 3)}
    ),
    min_size=1, max_size=3,
)  # fmt: skip


@given(mix=sources, seed=st.integers(0, 3))
@few
def test_a_mix_is_the_same_for_the_same_seeds_and_adds_up(
    mix: list[dict[str, Any]], seed: int, tokenizer: Any
) -> None:
    with tempfile.TemporaryDirectory() as folder:
        first, again = (_mixed(Path(folder), mix, seed, tokenizer) for _ in range(2))
        assert first.fingerprint == again.fingerprint
        asked = [one.turns[0].content for one in first.examples]
        assert asked == [one.turns[0].content for one in again.examples]
        for number, (given_, account) in enumerate(zip(mix, first.sources, strict=True)):
            own = [text for text in asked if text.startswith(f"{number}-")]
            assert len(own) == account.seen_per_epoch
            assert account.num_taken == min(account.quota, given_["count"])
            repeats = [own.count(text) for text in set(own)]
            assert all(n in (int(given_["weight"]), int(given_["weight"]) + 1) for n in repeats)


def _mixed(folder: Path, mix: list[dict[str, Any]], seed: int, tokenizer: Any) -> Prepared:
    made = []
    for number, one in enumerate(mix):
        path = folder / f"{number}.jsonl"
        rows = [{"question": f"{number}-{n}?", "answer": "a"} for n in range(one["count"])]
        path.write_text("".join(json.dumps(row) + "\n" for row in rows))
        kept = {key: one[key] for key in ("rows", "weight", "seed")}
        made.append(Source(path=str(path), **kept))
    return prepare(Data(sources=tuple(made), seed=seed), tokenizer, template("gemma4"))


ATOMS = st.sampled_from(
    ("0", "-0", "-0.0", "18446744073709551616", "-9223372036854775809", "1e400", "5e-324", "0.1e1",
     "9007199254740993.0", "NaN", "-Infinity", "01", "1.", "true", "null", "nul", '"a"', '"\\/"',
     '"\\ud800"', '"\\ud83d\\ude00"', '"\x01"', '"\t"', '"\u2028"', "[1,]", "1 2", "", "{}")
) | st.floats(allow_nan=False).map(repr)  # fmt: skip
values = st.recursive(
    ATOMS,
    lambda inner: (
        st.lists(inner, max_size=3).map(lambda items: f"[{', '.join(items)}]")
        | st.lists(inner, max_size=3).map(
            lambda items: "{" + ",".join(f'"{n % 2}": {item}' for n, item in enumerate(items)) + "}"
        )
    ),
    max_leaves=6,
)


@given(value=values, cut=st.none() | st.integers(0, 40))
@hypothesis_settings(few, max_examples=400)
def test_a_row_is_what_pythons_decoder_says(value: str, cut: int | None) -> None:
    raw = f'{{"row": {value}}}'.encode()[:cut]
    try:
        expected = repr(json.loads(raw))
    except ValueError:
        with pytest.raises(UnusableRow, match="not valid JSON"):
            parsed(raw)
        return
    assert repr(parsed(raw)) == expected


@given(before=tokens, ours=tokens, theirs=tokens, answer=tokens)
@few
def test_what_is_not_marked_as_different_is_the_same(
    before: list[int], ours: list[int], theirs: list[int], answer: list[int]
) -> None:
    row, prompt = [*before, *ours, TURN, 1, *answer], [*before, *theirs, TURN, 1]
    left, right = differing(row, prompt, TURN)
    end = len(row) - len(answer)
    same = [token for token, mark in zip(row[:end], left, strict=False) if not mark]
    assert same == [token for token, mark in zip(prompt, right, strict=True) if not mark]
    assert any(left + right) == (ours != theirs)
    assert not any(left[end:])


@given(lengths=st.lists(st.integers(1, 20_000), min_size=1, max_size=200))
@few
def test_a_histogram_counts_every_length_in_its_bin(lengths: list[int]) -> None:
    bins = histogram(np.array(lengths), int(np.percentile(lengths, 95)))
    assert len(bins) <= 10
    least = 0
    for most, rows in bins:
        assert rows == sum(least < length <= most for length in lengths)
        least = most
    assert least >= max(lengths)
