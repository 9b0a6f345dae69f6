"""What is said of a word that no command is called."""

import shlex
from pathlib import Path

from engine import likeness
from engine.recipe import data_files, files
from workbench.commands.registry import COMMANDS, SYNONYMS

WORDS = {
    **dict.fromkeys(("sft", "finetune", "fine-tune", "start", "fit", "begin"), "run"),
    **dict.fromkeys(("data", "show", "view", "dataset"), "preview"),
    **dict.fromkeys(("memory", "estimate", "plan", "vram", "dry-run"), "budget"),
    **dict.fromkeys(("check", "env", "test", "diagnose"), "doctor"),
    **dict.fromkeys(("watch", "follow", "logs", "log", "monitor"), "attach"),
    **dict.fromkeys(("chat", "generate", "infer", "inference", "prompt", "playground"), "talk"),
    **dict.fromkeys(("continue", "restart"), "resume"),
    **dict.fromkeys(("list", "ls", "ps", "status", "jobs"), "runs"),
    **dict.fromkeys(("kill", "cancel", "end"), "stop"),
    **dict.fromkeys(("models", "configs"), "recipes"),
    **dict.fromkeys(("convert", "migrate", "axolotl", "llamafactory-cli", "trl"), "import"),
    **dict.fromkeys(("gpu", "gpus", "device", "devices", "cards"), "hardware"),
    "help": "--help", "version": "--version",
}  # fmt: skip
"""What other tools call what is one of our commands, or options."""


def message(word: str) -> str:
    """That there is no such command, with the line that may have been meant."""
    line = meant(word)
    advice = f"Did you mean: {line}" if line else "gemma-bench --help lists all"
    return f"there is no command {word!r}. {advice}"


def meant(word: str) -> str:
    """The line that may have been meant; empty where nothing is alike.

    A recipe is one to be run, and so is a file that rows can be read from.
    """
    if _is_recipe(word):
        return f"gemma-bench run {shlex.quote(word)}"
    for alike in likeness.nearest(word, (*COMMANDS, *SYNONYMS, *WORDS)):
        return f"gemma-bench {WORDS.get(alike, alike)}"
    recipe = next(iter(likeness.nearest(word, files.names())), "")
    return f"gemma-bench run {recipe}" if recipe else ""


def _is_recipe(word: str) -> bool:
    path = Path(word)
    if word in files.names():
        return True
    return path.is_file() and (path.suffix == ".toml" or data_files.is_rows(path))
