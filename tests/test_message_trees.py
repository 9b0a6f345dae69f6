"""Messages in rows of their own are joined into talks by what each replies to."""

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow
import pyarrow.parquet
import pytest
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.formats.reply_tree import NOTED_JOINED, OTHER_REPLIES
from engine.data.prepare import Prepared, prepare
from engine.data.reading import message_trees
from engine.problems import Refusal
from engine.recipe.schema import Data, Source

Row = dict[str, Any]


@pytest.fixture(scope="module")
def tokenizer(gemma_folder: Callable[[str], Path]) -> Any:
    return AutoTokenizer.from_pretrained(gemma_folder("embedded"))


@pytest.fixture
def read(tmp_path: Path, tokenizer: Any) -> Callable[..., Prepared]:
    def prepared(path: Path, **options: Any) -> Prepared:
        data = Data(sources=(Source(path=str(path), **options),))
        return prepare(data, tokenizer, template("gemma4"), tmp_path / "cache")

    return prepared


def message(name: str, parent: str | None, text: str, rank: int | None = None, **more: Any) -> Row:
    role = "assistant" if name.startswith("a") else "prompter"
    return {
        "message_id": name, "parent_id": parent, "text": text, "role": role, "rank": rank,
        "deleted": None, "review_result": True, **more,
    }  # fmt: skip


FRUIT = [
    message("p1", None, "Name a fruit."),
    message("a1", "p1", "Go away.", 1),
    message("a2", "p1", "A quince.", 0),
    message("a3", "p1", "Mud.", -1, deleted=True),
    message("a4", "p1", "Sand.", -1, review_result=False),
    message("p2", "a2", "Another?"),
    message("a5", "p2", "A fig."),
    message("p3", "a5", "Thanks!"),
]
TREE = [message("p7", None, "Name a tree."), message("a7", "p7", "A larch.")]
TALKS = [["Name a fruit.", "A quince.", "Another?", "A fig."], ["Name a tree.", "A larch."]]


def lines(path: Path, *rows: object) -> Path:
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    return path


def said(prepared: Prepared) -> list[list[str]]:
    return [[turn.content for turn in one.turns] for one in prepared.examples]


def test_talks_are_joined_whatever_holds_the_messages(tmp_path: Path, read: Any) -> None:
    """In any order; a table drops the null of a first message's parent."""
    mixed = [FRUIT[5], TREE[1], *FRUIT[:5], TREE[0], *FRUIT[6:]]
    as_lines = lines(tmp_path / "rows.jsonl", *mixed)
    packed = tmp_path / "rows.json.gz"
    packed.write_bytes(gzip.compress(json.dumps(mixed, indent=1).encode()))
    pyarrow.parquet.write_table(pyarrow.Table.from_pylist(mixed), tmp_path / "rows.parquet")
    for path in (as_lines, packed, tmp_path / "rows.parquet"):
        for _ in range(2):
            # The second time it is read from what the first one wrote.
            prepared = read(path)
            assert said(prepared) == TALKS
            assert [one.where for one in prepared.examples] == [f"{path}:3", f"{path}:8"]
            (source,) = prepared.sources
            assert (source.format, source.quota, source.dropped) == ("reply_tree", 2, {})
            assert source.noted == {NOTED_JOINED: 2}
            assert source.unread == {OTHER_REPLIES: 1}
    assert len(read(as_lines, rows=1).rows) == 1
    alone = read(as_lines, format="text")
    assert len(alone.rows) == len(mixed)


def test_replies_may_stand_in_another_file(tmp_path: Path, read: Any) -> None:
    folder = tmp_path / "rows"
    folder.mkdir()
    lines(folder / "a.jsonl", FRUIT[6], *TREE)
    second = lines(folder / "b.jsonl", *FRUIT[:6])
    prepared = read(folder)
    assert said(prepared) == TALKS[::-1]
    assert [one.where for one in prepared.examples] == [f"{folder / 'a.jsonl'}:2", f"{second}:1"]


def test_columns_may_have_other_names(tmp_path: Path, read: Any) -> None:
    names = {"message_id": "id", "parent_id": "to", "text": "prompt"}
    rows = [{names.get(key, key): value for key, value in row.items()} for row in TREE]
    path = lines(tmp_path / "rows.jsonl", *rows)
    assert said(read(path, columns=names)) == TALKS[1:]


def test_what_belongs_to_no_tree_says_why(tmp_path: Path, read: Any) -> None:
    rows = [
        *TREE, TREE[1], message("a8", "gone", "Lost."), message("p9", "a9", "Round?"),
        message("a9", "p9", "And round."), {"message_id": "a10", "role": "assistant"}, 7,
    ]  # fmt: skip
    path = lines(tmp_path / "rows.jsonl", *rows)
    with path.open("a") as file:
        file.write("oops\n")
    prepared = read(path)
    assert said(prepared) == TALKS[1:]
    (source,) = prepared.sources
    assert source.dropped == {
        message_trees.TWICE: 1, message_trees.ASTRAY: 3, "a message without text": 1,
        "a row that is no object with named columns": 1, "not valid JSON": 1,
    }  # fmt: skip
    assert source.first_dropped[message_trees.ASTRAY] == f"{path}:4"
    assert source.quota == 8


def test_trees_that_are_too_large_to_be_nested_are_dropped(
    tmp_path: Path, read: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    chain = [message("pc", None, "And?")]
    for n in range(1, 402):
        chain.append(message(f"{'pa'[n % 2]}c{n}", chain[-1]["message_id"], f"{n}!"))
    path = lines(tmp_path / "rows.jsonl", *TREE, *chain[:400], *FRUIT)
    assert len(read(path).rows) == 3
    lines(path, *TREE, *chain)
    assert read(path).dropped == {"a talk of more than 400 messages": 1}
    monkeypatch.setattr(message_trees, "MAX_ROW_BYTES", 999)
    lines(path, *TREE, *chain[:100])
    assert read(path).dropped == {"a tree of more than 16 MiB": 1}


def test_messages_that_name_no_parent_are_refused_with_what_helps(
    tmp_path: Path, read: Any
) -> None:
    """Each advice works: the columns' own names, or the texts alone."""
    renamed = [{**row, "to": row["parent_id"]} for row in TREE]
    for row in renamed:
        del row["parent_id"]
    path = lines(tmp_path / "rows.jsonl", *renamed)
    with pytest.raises(Refusal, match="to join them by") as refused:
        read(path)
    assert 'columns = { message_id = "...", parent_id = "..." }' in str(refused.value)
    assert said(read(path, columns={"parent_id": "to"})) == TALKS[1:]
    assert 'format = "text"' in str(refused.value)
    assert len(read(path, format="text").rows) == 2
    nameless = [{key: value for key, value in row.items() if key != "message_id"} for row in TREE]
    lines(path, *({**row, "id": of["message_id"]} for row, of in zip(nameless, TREE, strict=True)))
    with pytest.raises(Refusal, match="to join them by"):
        read(path)
    assert said(read(path, columns={"message_id": "id"})) == TALKS[1:]
    lines(path, {"id": 1, "role": "user", "text": "Name a tree."})
    with pytest.raises(Refusal, match="to join them by"):
        read(path)
