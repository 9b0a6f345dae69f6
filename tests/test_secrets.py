"""What a run leaves behind is its owner's and tells no secret, and the network is not asked."""

import json
import os
import stat
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from jinja2.exceptions import SecurityError
from transformers import AutoTokenizer

from engine.run.rundir import RunDir
from tests import command, tiny

CANARIES = {
    "HF_TOKEN": "hf_canaryA1",
    "WANDB_API_KEY": "canaryB2",
    "HUGGING_FACE_HUB_TOKEN": "hf_C3",
}
LISTEN = """
import os, sys
def heard(event, arguments):
    asked = event == "socket.getaddrinfo" or event == "socket.connect" and arguments[1:2] and \\
        isinstance(arguments[1], tuple)
    if asked:
        with open(os.environ["TOLD_OF_NETWORK"], "a") as file:
            file.write(f"{event} {arguments}\\n")
sys.addaudithook(heard)
"""


@pytest.fixture(scope="module")
def ended(tmp_path_factory: pytest.TempPathFactory) -> tuple[RunDir, str, set[str], str]:
    """A run under the most generous umask, with secrets in its environment and the hub allowed:
    what it printed, the command lines it was seen by, and what it asked the network."""
    folder = tmp_path_factory.mktemp("secrets")
    (folder / "listen").mkdir()
    (folder / "listen" / "sitecustomize.py").write_text(LISTEN)
    (folder / "hf").mkdir()
    (folder / "hf" / "token").write_text("hf_canaryFile")
    told = folder / "network.txt"
    environment = {name: value for name, value in os.environ.items() if name != "HF_HUB_OFFLINE"}
    process = subprocess.Popen(
        [command.COMMAND, "--run", "quickstart", "--out", "run", *command.SHORT],
        cwd=folder, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True, umask=0,
        env={
            **environment, **CANARIES, "HF_HOME": str(folder / "hf"),
            "PYTHONPATH": str(folder / "listen"), "TOLD_OF_NETWORK": str(told),
        },
    )  # fmt: skip
    run, lines = RunDir(folder / "run"), set[str]()
    while process.poll() is None:
        for place in Path("/proc").glob("[0-9]*/cmdline"):
            try:
                lines.add(place.read_bytes().replace(b"\0", b" ").decode("utf-8", "replace"))
            except OSError:
                continue
        try:
            process.wait(0.2)
        except subprocess.TimeoutExpired:
            continue
    assert process.stdout
    out = process.stdout.read()
    assert process.returncode == 0, out
    return run, out, lines, told.read_text() if told.exists() else ""


Ended = tuple[RunDir, str, set[str], str]


def test_no_secret_is_told(ended: Ended) -> None:
    run, out, lines, _ = ended
    assert any("engine train" in line for line in lines)
    files = [path for path in run.path.rglob("*") if path.is_file()]
    names = {path.name for path in files}
    assert {"events.jsonl", "engine.log", "request.json", "exit.json"} <= names
    for canary in (*CANARIES.values(), "hf_canaryFile"):
        assert canary not in out
        assert not [line for line in lines if canary in line]
        assert not [path for path in files if canary.encode() in path.read_bytes()]


def test_all_of_it_is_its_owner_s(ended: Ended) -> None:
    run, *_ = ended
    for path in (run.path, *run.path.rglob("*")):
        mode = stat.S_IMODE(path.stat().st_mode)
        assert mode & 0o077 == 0, f"{path}: {mode:o}"


def test_nobody_is_asked_over_the_network(ended: Ended) -> None:
    *_, told = ended
    assert told == ""


def test_the_ear_hears(tmp_path: Path) -> None:
    """Or the test above would hear nothing whatever was asked."""
    (tmp_path / "sitecustomize.py").write_text(LISTEN)
    code = "import socket\ntry: socket.create_connection(('127.0.0.1', 9), 1)\nexcept OSError: pass"
    told = tmp_path / "told"
    subprocess.run(
        [sys.executable, "-P", "-c", code], check=True,
        env={**os.environ, "PYTHONPATH": str(tmp_path), "TOLD_OF_NETWORK": str(told)},
    )  # fmt: skip
    assert "socket.connect" in told.read_text()


def test_a_secret_in_a_recipe_is_refused_unseen(tmp_path: Path) -> None:
    """Such keys are known from other tools."""
    key = "training.hub_token=hf_canaryD4"
    code, out, err = command.call(tmp_path, "--run", "quickstart", "--set", key)
    assert code == 2
    assert "training.hub_token" in err
    assert "hf_canaryD4" not in out + err
    assert not (tmp_path / "runs").exists()


EVIL = "import pathlib\npathlib.Path({!r}).touch()\n"


def stranger(folder: Path, made: Path, built: Path) -> None:
    """A model folder whose configuration names code that comes along."""
    folder.mkdir()
    for path in built.iterdir():
        (folder / path.name).write_bytes(path.read_bytes())
    for name in ("config.json", "tokenizer_config.json"):
        document = json.loads((folder / name).read_text())
        auto = ("AutoConfig", "AutoModelForCausalLM", "AutoTokenizer")
        document["auto_map"] = dict.fromkeys(auto, "evil.Evil")
        (folder / name).write_text(json.dumps(document))
    (folder / "evil.py").write_text(EVIL.format(str(made)) + "class Evil: pass\n")


def test_code_that_comes_with_a_model_is_not_run(
    gemma_folder: Callable[[str], Path], tmp_path: Path
) -> None:
    made = tmp_path / "made"
    stranger(tmp_path / "model", made, gemma_folder("gemma3"))
    assert tiny.loaded(tmp_path / "model").model is not None
    assert not made.exists()


def test_a_pickle_is_not_opened(gemma_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """Weights as PyTorch's own files are refused unread."""
    made = tmp_path / "made"
    folder = tmp_path / "model"
    stranger(folder, made, gemma_folder("gemma3"))
    (folder / "model.safetensors").unlink()
    pickled = b"cbuiltins\nexec\n(V" + EVIL.format(str(made)).replace("\n", ";").encode() + b"\ntR."
    (folder / "pytorch_model.bin").write_bytes(pickled)
    with pytest.raises(OSError, match="safetensors"):
        tiny.loaded(folder)
    assert not made.exists()
    (tmp_path / "rows.jsonl").write_text('{"question": "What?", "answer": "That."}\n')
    (tmp_path / "recipe.toml").write_text('[data]\nsources = [{ path = "rows.jsonl" }]\n')
    code, _, err = command.call(tmp_path, "--run", "recipe.toml", "--set", "model.path=model")
    assert code == 2, err
    assert not made.exists()


def test_a_template_can_not_reach_out(gemma_folder: Callable[[str], Path], tmp_path: Path) -> None:
    """A model's own template is rendered in a sandbox."""
    from engine.data.conversation import Turn
    from engine.data.encoding.template import choose
    from engine.data.encoding.tokens import tokenize
    from tests.tiny import QUESTIONS

    tokenizer = AutoTokenizer.from_pretrained(gemma_folder("embedded"))
    made = tmp_path / "made"
    tokenizer.chat_template = (
        "{% for m in messages %}{% generation %}{{ m['content'] }}{% endgeneration %}{% endfor %}"
        "{{ cycler.__init__.__globals__.os.system('touch " + str(made) + "') }}"
    )
    asked, said = QUESTIONS[0]
    with pytest.raises(SecurityError, match="__init__"):
        tokenize(
            tokenizer, choose("model", tokenizer, "gemma4"),
            [(Turn("user", asked), Turn("assistant", said))], "assistant", 128,
        )  # fmt: skip
    assert not made.exists()
