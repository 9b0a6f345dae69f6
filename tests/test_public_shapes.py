"""One row in each shape that public sets and people's files have, all in one preview."""

import csv
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import openpyxl
import pyarrow
import pyarrow.parquet
from transformers import AutoTokenizer

from engine.data.encoding.template import template
from engine.data.formats import question_answer, reply_tree, tool_text
from engine.data.formats.chat_marks import NOTED_MARKS
from engine.data.prepare import prepare
from engine.recipe.schema import Data, Source
from tests import command, prepared_rows

Row = dict[str, Any]
JOINED, INSTRUCTED = {reply_tree.NOTED_JOINED: 1}, {tool_text.NOTED_INSTRUCTIONS: 1}
ARGUMENTS = {"port": "Tuk", "hour": None}
SCHEMA = {"type": "object", "properties": {"port": {"type": "string"}}, "required": ["port"]}


def asked(name: str) -> str:
    return f"What of {name}?"


def said(name: str) -> str:
    return f"{name} it is."


def talk(name: str) -> list[Row]:
    return [{"role": "user", "content": asked(name)}, {"role": "assistant", "content": said(name)}]


def tool(name: str) -> Row:
    return {"name": f"see_{name}", "description": f"See {name}", "parameters": SCHEMA}


def call(name: str) -> Row:
    return {"name": f"see_{name}", "arguments": ARGUMENTS}


def called(name: str) -> Row:
    """A talk with a call, its result, and the answer to that."""
    user, answer = talk(name)
    made = {"role": "assistant", "content": "", "tool_calls": [{"function": call(name)}]}
    result = {"role": "tool", "name": f"see_{name}", "content": '{"m": 1}'}
    declared = [{"type": "function", "function": tool(name)}]
    return {"messages": [user, made, result, answer], "tools": declared}


def call_alone(name: str) -> Row:
    whole = called(name)
    return {**whole, "messages": whole["messages"][:2]}


def thought_before(thought: str, row: Row, system: str = "Be brief.") -> Row:
    """A talk with a call, before which something is thought, and a system text."""
    first, made, *rest = row["messages"]
    thinking = {**made, "reasoning_content": thought}
    return {**row, "messages": [{"role": "system", "content": system}, first, thinking, *rest]}


def turns(name: str, *pairs: tuple[str, str]) -> list[Row]:
    says = [("human", asked(name)), *pairs, ("gpt", said(name))]
    return [{"from": role, "value": value} for role, value in says]


def lines(*rows: object) -> Callable[[Path], object]:
    text = "".join(json.dumps(row) + "\n" for row in rows)
    return lambda path: path.write_text(text)


def written(value: object, **options: Any) -> Callable[[Path], object]:
    return lambda path: path.write_text(json.dumps(value, **options))


def table(names: list[str], values: list[str], delimiter: str = ",") -> Callable[[Path], object]:
    def write(path: Path) -> None:
        with path.open("w", newline="") as file:
            csv.writer(file, delimiter=delimiter).writerows([names, values])

    return write


def workbook(name: str) -> Callable[[Path], object]:
    def write(path: Path) -> None:
        book = openpyxl.Workbook()
        book.worksheets[0].append(["question", "answer"])
        book.worksheets[0].append([asked(name), said(name)])
        book.save(path)

    return write


def message(name: str, own: str, parent: str | None, text: str) -> Row:
    role = "assistant" if own == "b" else "prompter"
    return {"message_id": name + own, "parent_id": parent and name + parent, "role": role,
            "text": text}  # fmt: skip


Shape = tuple[str, Callable[[Path], object], Row, dict[str, int]]


def plain(name: str, ending: str, write: Callable[[Path], object], **noted: int) -> Shape:
    return ending, write, {"messages": talk(name)}, noted


QUESTION = ["question", "answer"]
TEXT_CALL = '[see_toolace(port="Tuk", hour=None)]'
RESULT = '[{"name": "see_toolace", "results": {"m": 1}}]'
GEMMA = "<start_of_turn>user\n{}<end_of_turn>\n<start_of_turn>model\n{}<end_of_turn>\n"
SHAPES: dict[str, Shape] = {
    "xlam": ("jsonl", lines({
        "id": 7, "query": asked("xlam"), "answers": json.dumps([call("xlam")]),
        "tools": json.dumps([{**tool("xlam"), "parameters": {"port": {"type": "str"}}}]),
    }), call_alone("xlam"), {}),
    "toolace": ("jsonl", lines({
        "system": "You are an expert in composing functions. Here is a list of functions in JSON "
        f"format that you can invoke:\n{json.dumps([tool('toolace')])}",
        "conversations": turns("toolace", ("assistant", TEXT_CALL), ("tool", RESULT)),
    }), called("toolace"), INSTRUCTED),
    "squad": plain("squad", "jsonl", lines({
        "id": "5", "context": "squad?", "question": "What of",
        "answers": {"text": [said("squad"), said("squad")], "answer_start": [0, 0]},
    })),
    "accepted": plain("accepted", "jsonl", lines({
        "question": asked("accepted"), "answer": [said("accepted"), "It."],
    }), **{question_answer.NOTED_ACCEPTED: 1}),
    "gemini": plain("gemini", "jsonl", lines({"contents": [
        {"role": "user", "parts": [{"text": asked("gemini")}]},
        {"role": "model", "parts": [{"text": said("gemini")}]},
    ]})),
    "vertex": ("jsonl", lines({
        "systemInstruction": {"role": "system", "parts": [{"text": "Be brief."}]},
        "tools": [{"functionDeclarations": [{**tool("vertex"), "parameters": {
            "type": "OBJECT", "properties": {"port": {"type": "STRING"}}, "required": ["port"],
        }}]}],
        "contents": [
            {"role": "user", "parts": [{"text": asked("vertex")}]},
            {"role": "model", "parts": [
                {"text": "It asks.", "thought": True},
                {"functionCall": {"name": "see_vertex", "args": ARGUMENTS}},
            ]},
            {"role": "user", "parts": [
                {"functionResponse": {"name": "see_vertex", "response": {"m": 1}}},
            ]},
            {"role": "model", "parts": [{"text": said("vertex")}]},
        ],
    }), thought_before("It asks.", called("vertex")), {}),
    "harmony": ("jsonl", lines({
        "tools": [tool("harmony")],
        "messages": [
            {"role": "system", "content": "Be"},
            {"role": "developer", "content": "brief."},
            {"role": "user", "content": asked("harmony")},
            {"role": "assistant", "channel": "analysis", "content": "It asks."},
            {"role": "assistant", "channel": "commentary", "recipient": "functions.see_harmony",
             "content": json.dumps(ARGUMENTS)},
            {"role": "tool", "name": "functions.see_harmony", "content": '{"m": 1}'},
            {"role": "assistant", "channel": "final", "content": said("harmony")},
        ],
    }), thought_before("It asks.", called("harmony"), "Be\n\nbrief."), {}),
    "gptoss": ("jsonl", lines({
        "text": f"<|start|>user<|message|>{asked('gptoss')}<|end|><|start|>assistant<|channel|>"
        "analysis<|message|>It asks.<|end|><|start|>assistant<|channel|>final<|message|>"
        f"{said('gptoss')}<|return|>",
    }), {"messages": [
        talk("gptoss")[0], {**talk("gptoss")[1], "reasoning_content": "It asks."},
    ]}, {NOTED_MARKS: 1}),
    "openai": ("jsonl", lines({
        "parallel_tool_calls": False, "functions": [tool("openai")],
        "messages": [
            talk("openai")[0],
            {"role": "assistant", "content": None, "weight": 1, "function_call": {
                "name": "see_openai", "arguments": json.dumps(ARGUMENTS)}},
            {"role": "function", "name": "see_openai", "content": '{"m": 1}'},
            {**talk("openai")[1], "weight": 1, "refusal": None},
        ],
    }), called("openai"), {}),
    "hermes": ("json", written([{"id": "a", "conversations": [
        {"from": "system", "value": "You are a function calling AI model. You are provided with "
         f"function signatures within <tools></tools> XML tags. <tools> {[tool('hermes')]} "
         "</tools> For each function call return a json object with function name and arguments "
         "within <tool_call></tool_call> XML tags."},
        *turns("hermes", ("gpt", f"<tool_call>\n{call('hermes')}\n</tool_call>"),
               ("tool", '<tool_response>\n{"m": 1}\n</tool_response>')),
    ]}]), called("hermes"), INSTRUCTED),
    "glaive": ("jsonl", lines({
        "system": "SYSTEM: You may call these -\n" + json.dumps(tool("glaive"), indent=1),
        "chat": f"USER: {asked('glaive')}\n\n\nASSISTANT: <functioncall> "
        f'{{"name": "see_glaive", "arguments": \'{json.dumps(ARGUMENTS)}\'}} <|endoftext|>\n\n\n'
        f'FUNCTION RESPONSE: {{"m": 1}}\n\n\nASSISTANT: {said("glaive")} <|endoftext|>\n\n\n',
    }), {**called("glaive"), "messages": [
        {"role": "system", "content": "You may call these -"}, *called("glaive")["messages"],
    ]}, {}),
    "sharegpt": ("jsonl", lines({
        "conversations": turns("sharegpt", ("function_call", json.dumps(call("sharegpt"))),
                               ("observation", '{"m": 1}')),
        "tools": json.dumps([tool("sharegpt")]),
    }), called("sharegpt"), {}),
    "functiongemma": ("jsonl", lines({
        "metadata": "train", "tools": called("functiongemma")["tools"],
        "messages": [
            {"role": "developer", "content": "You can do function calling."},
            *called("functiongemma")["messages"][:2],
        ],
    }), {**called("functiongemma"), "messages": [
        {"role": "system", "content": "You can do function calling."},
        *called("functiongemma")["messages"][:2],
    ]}, {}),
    "ultrachat": plain("ultrachat", "jsonl", lines(
        {"id": "0", "data": [asked("ultrachat"), said("ultrachat")]}
    )),
    "lima": plain("lima", "jsonl", lines(
        {"conversations": [asked("lima"), said("lima")], "source": "stackexchange"}
    )),
    "oasst": plain("oasst", "jsonl", lines(
        message("oasst", "b", "a", said("oasst")), message("oasst", "a", None, asked("oasst")),
    ), **JOINED),
    "tree": plain("tree", "jsonl", lines({"message_tree_id": "a", "prompt": {
        "text": asked("tree"), "role": "prompter",
        "replies": [{"text": said("tree"), "role": "assistant", "replies": []}],
    }})),
    "columns": plain("columns", "json", written(
        {"question": [asked("columns")], "answer": [said("columns")]}
    )),
    "wrapped": plain("wrapped", "json", written({"version": "1", "data": [
        {"instruction": asked("wrapped"), "input": "", "output": said("wrapped")}
    ]}, indent=2)),
    "pretty": plain("pretty", "jsonl", written(
        {"prompt": asked("pretty"), "completion": said("pretty")}, indent=2
    )),
    "trl": plain("trl", "jsonl", lines(
        {"prompt": talk("trl")[:1], "completion": talk("trl")[1:]}
    )),
    "cased": plain("cased", "jsonl", lines({"messages": [
        {"role": "Human", "content": asked("cased")}, {"role": "AI", "content": said("cased")}
    ]})),
    "rendered": plain("rendered", "jsonl", lines(
        {"text": GEMMA.format(asked("rendered"), said("rendered"))}
    ), **{NOTED_MARKS: 1}),
    "dolly": plain("dolly", "jsonl", lines({
        "instruction": "What of", "context": "dolly?", "response": said("dolly"), "category": "qa",
    })),
    "tabs": plain("tabs", "tsv", table(QUESTION, [asked("tabs"), said("tabs")], "\t")),
    "semicolons": plain(
        "semicolons", "csv", table(QUESTION, [asked("semicolons"), said("semicolons")], ";")
    ),
    "spaces": plain("spaces", "csv", lambda path: path.write_text(
        f"question, answer\n{asked('spaces')}, {said('spaces')}\n"
    )),
    "listed": plain("listed", "csv", table(["id", "messages"], ["1", json.dumps(talk("listed"))])),
    "sheet": plain("sheet", "xlsx", workbook("sheet")),
    "padded": ("parquet", lambda path: pyarrow.parquet.write_table(
        pyarrow.Table.from_pylist([{"messages": talk("padded"), "system": None}]), path
    ), {"messages": talk("padded")}, {}),
}  # fmt: skip
for other in ("dolly", "squad"):
    SHAPES[other][2]["messages"][0]["content"] = f"What of\n\n{other}?"


def test_each_gives_the_ids_of_plain_messages(
    tmp_path: Path, gemma_folder: Callable[[str], Path]
) -> None:
    tokenizer = AutoTokenizer.from_pretrained(gemma_folder("embedded"))
    folder = tmp_path / "shapes"
    folder.mkdir()
    sources = []
    for name, (ending, write, _, _) in SHAPES.items():
        write(folder / f"{name}.{ending}")
        sources.append(f"{{path='shapes/{name}.{ending}', name='{name}'}}")
    code, out, err = command.call(
        tmp_path, "preview", "quickstart", "--json", "--rows", "99", "--set",
        f"data.sources=[{', '.join(sources)}]", "--set", "data.max_length=1024",
    )  # fmt: skip
    assert (code, err) == (0, "")
    told = json.loads(out)
    rows = {row["source"]: row for row in told["rows"]}
    of_sources = {source["name"]: source for source in told["sources"]}
    for name, (_, _, plain_row, noted) in SHAPES.items():
        source = of_sources[name]
        assert (source["asked"], source["taken"], source["dropped"]) == (1, 1, {}), name
        assert source["noted"] == noted, name
        expected = prepared_rows.prepared(
            tmp_path / "plain.jsonl", tokenizer, [plain_row], max_length=1024
        )
        assert rows[name]["text"] == prepared_rows.text(expected, tokenizer), name
        assert rows[name]["input_ids"] == expected.rows[0].ids, name
        assert rows[name]["labels"] == expected.rows[0].labels, name


def test_a_first_line_in_another_encoding_is_dropped_by_that_name(
    tmp_path: Path, tokenizer: Any
) -> None:
    """Where the first line can't be read as JSON, the file is read as objects one after another."""
    path = tmp_path / "first.jsonl"
    good = b'{"prompt": "tea", "completion": "yes"}\n'
    path.write_bytes(good.replace(b"tea", b"caf\xe9") + good)
    data = Data(sources=(Source(path=str(path)),))
    dropped = prepare(data, tokenizer, template("gemma4")).sources[0].dropped
    assert dropped == {"bytes that are not UTF-8; they read as cp1252": 1}
