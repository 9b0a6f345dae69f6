"""`gemma-bench preview` as a shell sees it: its JSON, its pages, bad input, and hostile rows."""

import json
import re
import signal
import time
import unicodedata
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import command
from tests.terminal import Pty
from tests.test_plain import HOSTILE

RECIPE = '[data]\nsources = [{ path = "rows.jsonl", name = "mine" }]\n'
ROWS = [{"question": f"Question {n}?", "answer": f"Answer {n}."} for n in range(9)]
MARKUP = ("[/]", "[/foo]", "a [/path/to] b", "[link=http://x]", "[@click=app.pwn]click me[/]",
          "[$x]..[/]", "[/INST]", "{{7*7}}", "%s%n")  # fmt: skip


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """The current folder, with a recipe and rows, and an empty folder for temporary files."""
    monkeypatch.chdir(tmp_path)
    (tmp_path / "tmp").mkdir()
    monkeypatch.setenv("TMPDIR", str(tmp_path / "tmp"))
    (tmp_path / "sound.toml").write_text(RECIPE)
    write(tmp_path / "rows.jsonl", *ROWS, {"question": "Nothing?", "answer": ""})
    yield tmp_path
    assert list((tmp_path / "tmp").glob("gemma-bench*")) == []


def write(path: Path, *records: object) -> None:
    path.write_text("".join(json.dumps(record) + "\n" for record in records))


def test_the_json_is_what_scripts_rely_on(here: Path) -> None:
    arguments = ("preview", "sound.toml", "--rows", "2", "--set", "data.max_length=40", "--json")
    code, out, err = command.call(here, *arguments)
    assert (code, err) == (0, "")
    told = json.loads(out)
    assert list(told) == ["sources", "rows", "template_sha256"]
    assert re.fullmatch("[0-9a-f]{64}", told["template_sha256"])
    (source,) = told["sources"]
    assert source["dropped"] == {"an empty answer": 1}
    assert [source[key] for key in ("name", "format", "asked", "taken")] == [
        "mine", "question_response", 10, 9,
    ]  # fmt: skip
    assert set(source) - {"name", "format", "asked", "taken"} == {
        "files", "left_out", "dropped", "first_dropped", "noted", "first_noted", "unread",
        "harmless", "tokens", "truncated_share", "supervised_share",
    }  # fmt: skip
    assert source["files"] == [str(here / "rows.jsonl")]
    assert source["left_out"] == source["noted"] == source["first_noted"] == {}
    assert source["first_dropped"] == {"an empty answer": f"{here / 'rows.jsonl'}:10"}
    assert set(source["tokens"]) == {"p50", "p95", "max"}
    first, last = told["rows"]
    assert list(first) == [
        "source", "file", "line", "text", "input_ids", "labels", "truncated", "weights",
    ]  # fmt: skip
    assert first["weights"] == []
    assert (first["line"], last["line"], first["file"]) == (1, 9, str(here / "rows.jsonl"))
    assert len(first["input_ids"]) == len(first["labels"])
    assert "Question 0?" in first["text"]
    assert first["truncated"] is False


def test_weights_of_answers_are_shown(here: Path) -> None:
    said = [("user", "Is it so?", {}), ("assistant", "Yes it is.", {"weight": 0.25}),
            ("user", "Sure?", {}), ("assistant", "Yes.", {})]  # fmt: skip
    messages = [{"role": role, "content": text, **more} for role, text, more in said]
    write(here / "rows.jsonl", {"messages": messages})
    code, out, err = command.call(here, "preview", "sound.toml", "--json")
    assert (code, err) == (0, "")
    (row,) = json.loads(out)["rows"]
    weighed = [label for label, w in zip(row["labels"], row["weights"], strict=True) if w == 0.25]
    assert set(row["weights"]) == {0.25, 1}
    assert -100 not in weighed
    _, page, _ = command.call(here, "preview", "sound.toml")
    assert f" with loss, {len(weighed)} of them x 0.25   prompt" in page
    assert "noted 1 x an answer whose weight is neither 0 nor 1" in page


def test_a_page_shows_sources_and_rows(here: Path) -> None:
    code, out, err = command.call(here, "preview", "sound.toml", "--source", "mine", "--rows", "1")
    assert (code, err) == (0, "")
    for words in (
        "mine: question_response\n",
        f"dropped 1 x an empty answer\n  first: {here / 'rows.jsonl'}:10\n",
        f"row 1 of 1 (mine)  {here / 'rows.jsonl'}:1\n",
        "\u27e6Answer 0.<turn|>\u21b5\u27e7",
        "prompt is a prefix: yes\n",
    ):
        assert words in out
    assert re.search(r"^mine +question_respon. +10 +9 ", out, re.MULTILINE)
    assert "\x1b" not in out


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["gone.toml"], ["gone.toml", "no such recipe", "gemma-bench recipes lists all"]),
        (["sound.toml", "--source", "yours"], ["no source 'yours'", "Its sources: mine"]),
        (["sound.toml", "--hardware", "rtx-9999"], ["rtx-9999", "gemma-bench hardware lists all"]),
        (["sound.toml", "--set", "data.max_length=2"], ["data.max_length", "8"]),
        (["sound.toml", "--set", "model.path=bare"], ["model.path", "folder of a Gemma"]),
        (["sound.toml", "--set", "data.sources=[{path='odd.jsonl'}]"],
         ["odd.jsonl:1", "columns \u241b]0;owned\u2407", "Known formats"]),
        (["sound.toml", "--set", "data.strict=true"], ["1 x an empty answer", "rows.jsonl:10"]),
    ],
)  # fmt: skip
def test_bad_input_is_told_once_and_leaves_nothing(
    here: Path, arguments: list[str], said: list[str]
) -> None:
    write(here / "odd.jsonl", {HOSTILE["title"]: 1})
    (here / "bare").mkdir()
    (here / "bare/config.json").write_text('{"model_type": "llama"}')
    code, out, err = command.call(here, "preview", *arguments)
    assert (code, out) == (2, "")
    assert err.count("gemma-bench: ") == 1
    assert "Traceback" not in err
    for words in said:
        assert words in err


@pytest.mark.parametrize("arguments", [["--rows", "0"], ["--rows", "-1"], ["--out", "x"], []])
def test_options_it_does_not_take_are_bad_input(here: Path, arguments: list[str]) -> None:
    recipe = ["sound.toml"] if arguments else []
    code, out, err = command.call(here, "preview", *recipe, *arguments)
    assert (code, out) == (2, "")
    assert err.startswith("usage: gemma-bench")


def hostile(here: Path) -> list[str]:
    """Arguments for rows, a file's name and a source's name that would steer a terminal."""
    texts = [*HOSTILE.values(), *MARKUP]
    rows = [{"question": f"{n} {text}", "answer": text} for n, text in enumerate(texts)]
    path = here / "rows\x1b]0;owned\x07\u202e.jsonl"
    write(path, *rows)
    source = {"path": str(path), "name": "\x1b[2J[/]\x9b\x7fmine"}
    told = ", ".join(f"{key} = {json.dumps(value)}" for key, value in source.items())
    return ["preview", "sound.toml", "--rows", "99", "--set", f"data.sources=[{{{told}}}]"]


def test_hostile_rows_can_not_steer_a_terminal(here: Path) -> None:
    with Pty(here, [str(command.COMMAND), *hostile(here)]) as shown:
        assert shown.end() == 0
        shown.read(0.5)
    written = shown.written.decode("utf-8")
    ours = re.compile(r"\x1b\[(?:[\d;]*m|2K)|\r")
    assert "\x1b[32m" in written
    left = ours.sub("", written)
    steering = {c for c in left if unicodedata.category(c) in {"Cc", "Cf", "Cs", "Zl", "Zp"}}
    assert steering <= {"\n"}
    for text in MARKUP:
        assert text in left
    for name in ("control characters", "bidirectional controls", "not valid Unicode"):
        assert name in left


def test_hostile_rows_are_data_in_json(here: Path) -> None:
    code, out, err = command.call(here, *hostile(here), "--json")
    assert (code, err) == (0, "")
    assert out.isascii()
    assert out.removesuffix("\n").isprintable()
    told = json.loads(out)
    texts = "".join(row["text"] for row in told["rows"])
    assert HOSTILE["zero width"] in texts
    assert all(text in texts for text in MARKUP)
    assert told["sources"][0]["name"] == "\x1b[2J[/]\x9b\x7fmine"
    (dropped,) = [source["dropped"] for source in told["sources"]]
    assert sum(dropped.values()) + len(told["rows"]) == len(HOSTILE) + len(MARKUP)


def test_without_colour_a_terminal_gets_brackets(here: Path) -> None:
    arguments = [str(command.COMMAND), "preview", "sound.toml", "--rows", "1"]
    with Pty(here, arguments, NO_COLOR="1") as shown:
        assert shown.end() == 0
        shown.read(0.5)
    assert "\u27e6Answer 0." in shown.written.decode()
    assert not re.search(rb"\x1b\[[\d;]*m", shown.written)


@pytest.mark.usefixtures("starts_anew")
@pytest.mark.parametrize("after_s", [0.3, 3.0])
def test_ctrl_c_ends_it_and_leaves_nothing(here: Path, after_s: float) -> None:
    # So many that no machine has read them by then.
    write(here / "rows.jsonl", *ROWS * 20_000)
    process = command.start(here, "preview", "sound.toml")
    command.wait(lambda: list((here / "tmp").glob("*/request.json")))
    time.sleep(after_s)
    process.send_signal(signal.SIGINT)
    code, out, err = command.finish(process, 20)
    assert (code, out) == (130, "")
    assert err.startswith("gemma-bench: interrupted")
    assert "Traceback" not in err


def test_a_closed_pipe_is_no_error(here: Path) -> None:
    process = command.start(here, "preview", "sound.toml")
    assert process.stdout
    assert process.stderr
    process.stdout.close()
    assert process.stderr.read() == b""
    assert process.wait(60) == 0
