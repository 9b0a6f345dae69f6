"""Tool calls and declarations in every way that public sets write them."""

import json
from typing import Any

import pytest

from engine.problems import Refusal
from tests.prepared_rows import FRUIT, supervised, text

CALL = {"name": "tide_at", "arguments": {"port": "Tuk"}}
TOOL = {"name": "tide_at", "description": "", "parameters": {"type": "object", "properties": {}}}


CALLED = {
    "tools": [{"type": "function", "function": TOOL}],
    "messages": [
        {"role": "user", "content": "Tide?"},
        {"role": "assistant", "content": "", "tool_calls": [{"function": CALL}]},
        {"role": "tool", "name": "tide_at", "content": '{"m": 0.4}'},
        {"role": "assistant", "content": "0.4 m."},
    ],
}


def described(function: dict[str, Any]) -> str:
    return json.dumps([{"type": "function", "function": function}])


def test_calls_in_the_words_are_calls(rows: Any, tokenizer: Any) -> None:
    """Hermes' tags and ToolACE's Python, with what they declare in their system text."""

    def hermes(declared: object, call: object) -> list[dict[str, str]]:
        return [
            {"from": "system", "value": f"<tools> {declared} </tools>"},
            {"from": "human", "value": "Tide?"},
            {"from": "gpt", "value": f"<tool_call>\n{call}\n</tool_call>"},
            {"from": "tool", "value": '<tool_response>\n{"m": 0.4}\n</tool_response>'},
            {"from": "gpt", "value": "0.4 m."},
        ]

    toolace = [
        {"from": "user", "value": "Tide?"},
        {"from": "assistant", "value": '[tide_at(port="Tuk")]'},
        {"from": "tool", "value": '[{"name": "tide_at", "results": {"m": 0.4}}]'},
        {"from": "assistant", "value": "0.4 m."},
    ]
    whole = rows(CALLED).rows[0].ids
    by_json = hermes(described(TOOL), json.dumps(CALL))
    assert rows({"conversations": by_json}).rows[0].ids == whole
    by_python = hermes([{"type": "function", "function": TOOL}], CALL)
    assert rows({"conversations": by_python}).rows[0].ids == whole
    with pytest.raises(Refusal, match="a tool call that is not valid JSON"):
        rows({"conversations": hermes(described(TOOL), {"name": {1}})})
    assert rows({"system": json.dumps([TOOL]), "conversations": toolace}).rows[0].ids == whole
    toolace[1]["value"] = "[tide_at(*ports)]"
    with pytest.raises(Refusal, match="Python text that can't be read"):
        rows({"system": json.dumps([TOOL]), "conversations": toolace})


HERMES = (
    "You are a function calling AI model. You are provided with function signatures within <tools> "
    "</tools> XML tags. You may call one or more functions to assist with the user query. Don't "
    "make assumptions about what values to plug into functions.\n<tools>\n[TOOLS]\n</tools>\n"
    "For each function call return a JSON object, with the following pydantic model json schema:\n"
    "{'title': 'FunctionCall', 'properties': {'name': {'type': 'string'}}}\n"
    "Each function call should be enclosed within <tool_call> </tool_call> XML tags.\n"
    "<tool_call>\n{'name': <function-name>, 'arguments': <args-dict>}\n</tool_call>"
)
QWEN = (
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\nYou are "
    "provided with function signatures within <tools></tools> XML tags:\n<tools>\nTOOLS\n</tools>"
    "\n\nFor each function call, return a json object with function name and arguments within "
    '<tool_call></tool_call> XML tags:\n<tool_call>\n{"name": <function-name>, "arguments": '
    "<args-json-object>}\n</tool_call>"
)
TOOLACE = (
    "You are an expert in composing functions. You are given a question and a set of possible "
    "functions. Based on the question, you will need to make one or more function/tool calls to "
    "achieve the purpose.\nIf none of the functions can be used, point it out. If the given "
    "question lacks the parameters required by the function, also point it out.\nYou should only "
    "return the function call in tools call sections.\nHere is a list of functions in JSON format "
    "that you can invoke:\n[TOOLS]. \nShould you decide to return the function call(s). Put it in "
    "the format of [func1(params_name=params_value, params_name2=params_value2...), func2(params)]"
    "\n\nNO other text MUST be included. "
)
GLAIVE = "with access to the following functions. Use them if required -\nTOOLS"


def role_of(message: dict[str, Any]) -> str:
    return {"system": "system", "user": "human", "assistant": "gpt"}.get(message["role"], "tool")


@pytest.mark.parametrize(
    ("instructions", "call"),
    [
        (HERMES, f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"),
        (QWEN, f"<tool_call>\n{json.dumps(CALL)}\n</tool_call>"),
        (TOOLACE, '[tide_at(port="Tuk")]'),
        (GLAIVE, '<functioncall> {"name": "tide_at", "arguments": \'{"port": "Tuk"}\'}'),
    ],
    ids=["hermes", "qwen", "toolace", "glaive"],
)
def test_words_on_how_to_write_calls_are_left_out(instructions: str, call: str, rows: Any) -> None:
    """The functions are declared by the template, and the words of one's own stay."""
    before = "You are the harbour's clerk"
    before += " " if instructions is GLAIVE else ".\n"
    system = before + instructions.replace("TOOLS", json.dumps(TOOL))
    asked, _, result, answer = CALLED["messages"]
    messages = [{"role": "system", "content": system}, asked,
                {"role": "assistant", "content": call}, result, answer]  # fmt: skip
    own = {"role": "system", "content": before.strip() + "." * (instructions is GLAIVE)}
    whole = rows({**CALLED, "messages": [own, *CALLED["messages"]]})
    assert not whole.sources[0].noted
    talk = [{"from": role_of(message), "value": message["content"]} for message in messages]
    for row in ({"messages": messages}, {"conversations": talk},
                {"prompt": messages[:2], "completion": messages[2:]}):  # fmt: skip
        prepared = rows(row)
        assert prepared.rows[0].ids == whole.rows[0].ids
        assert prepared.sources[0].noted == {
            "words on how to write calls, left out since functions are declared": 1
        }
    # Beside functions and calls of their own columns they are of no use either.
    beside = {**CALLED, "messages": [messages[0], *CALLED["messages"]]}
    assert rows(beside).rows[0].ids == whole.rows[0].ids
    # Where no answer calls, the functions are declared all the same.
    uncalled = [*messages[:2], {"role": "assistant", "content": "Which port?"}]
    declared = [own, CALLED["messages"][0], uncalled[2]]
    same = rows({"messages": declared, "tools": CALLED["tools"]})
    assert rows({"messages": uncalled}).rows[0].ids == same.rows[0].ids


def test_words_about_calls_stay_where_nothing_is_declared(rows: Any, tokenizer: Any) -> None:
    """So do lists in Python that answer a question about code."""
    said = "You may call one or more functions to assist with the user query."
    system = {"role": "system", "content": said}
    assert said in text(rows({"messages": [system, *FRUIT]}), tokenizer)
    about = f"It writes <tool_call>{json.dumps(CALL)}</tool_call> into its words."
    assert about in supervised(rows({"question": "How?", "answer": about}), tokenizer)
    code = {"question": "Squares?", "answer": "[square(x) for x in range(3)]"}
    assert supervised(rows(code), tokenizer).startswith("[square(x)")


@pytest.mark.parametrize("times", [0, 1, 2])
def test_arguments_and_tools_may_be_json_text(times: int, rows: Any) -> None:
    def text_of(value: Any) -> Any:
        for _ in range(times):
            value = json.dumps(value)
        return value

    call = {"name": "tide_at", "arguments": text_of(CALL["arguments"])}
    legacy = [CALLED["messages"][0],
              {"role": "assistant", "content": None, "function_call": call},
              {"role": "function", "name": "tide_at", "content": '{"m": 0.4}'},
              CALLED["messages"][3]]  # fmt: skip
    row = {"messages": legacy, "tools": text_of(CALLED["tools"])}
    assert rows(row).rows[0].ids == rows(CALLED).rows[0].ids


def test_public_sets_of_calls(rows: Any, tokenizer: Any) -> None:
    xlam = {"id": 1, "query": "Tide?", "answers": json.dumps([CALL]),
            "tools": json.dumps([{"name": "tide_at", "description": "",
                                  "parameters": {"port": {"type": "str"}}}])}  # fmt: skip
    prepared = rows(xlam)
    assert supervised(prepared, tokenizer).startswith('<|tool_call>call:tide_at{port:<|"|>Tuk')
    assert 'port:{type:<|"|>STRING' in text(prepared, tokenizer)
    glaive = {
        "system": f"SYSTEM: You may call functions -\n{json.dumps(TOOL)}\n",
        "chat": "USER: Tide?\n\n\nASSISTANT: <functioncall> "
        '{"name": "tide_at", "arguments": \'{"port": "Tuk"}\'} <|endoftext|>\n\n\n'
        'FUNCTION RESPONSE: {"m": 0.4}\n\n\nASSISTANT: 0.4 m. <|endoftext|>',
    }
    messages = [{"role": "system", "content": "You may call functions -"}, *CALLED["messages"]]
    same = rows({**CALLED, "messages": messages})
    assert rows(glaive).rows[0].ids == same.rows[0].ids


def test_python_calls_may_have_names_and_values_of_json(rows: Any, tokenizer: Any) -> None:
    named = {**TOOL, "name": "Get Weather"}
    talk = [{"from": "user", "value": "Rain?"},
            {"from": "assistant",
             "value": '[Get Weather(city="Tuk", now=true, at=null), a.b(x=[1, -2])]'}]  # fmt: skip
    prepared = rows({"system": json.dumps([named]), "conversations": talk})
    calls = prepared.examples[0].turns[-1].calls
    assert [(call.name, json.loads(call.arguments)) for call in calls] == [
        ("Get Weather", {"city": "Tuk", "now": True, "at": None}), ("a.b", {"x": [1, -2]}),
    ]  # fmt: skip
    one = {"query": "Tide?", "answers": CALL, "tools": TOOL}
    assert rows(one).rows[0].ids == rows({**one, "answers": [CALL], "tools": [TOOL]}).rows[0].ids
