"""Prompts that the user saves for later runs: a file of TOML to be pasted into a recipe."""

from pathlib import Path

from engine import guarded, user_dirs
from engine.atomic import write_whole
from workbench.text import toml_text

_HEAD = (
    "# Prompts saved in the playground, which writes this file. Recipes take them as they are.\n"
)


def path() -> Path:
    """The user's file."""
    return user_dirs.data() / "prompts.toml"


def read() -> list[str]:
    """What is saved. Raises `ValueError` where the file is damaged, and `OSError`."""
    try:
        document = guarded.toml_document(path())
    except FileNotFoundError:
        return []
    samples = document.get("samples", {})
    prompts = samples.get("prompts", []) if isinstance(samples, dict) else None
    if not isinstance(prompts, list) or not all(isinstance(one, str) for one in prompts):
        raise ValueError("samples.prompts is no list of texts")
    return prompts


def save(prompt: str) -> bool:
    """Add a prompt; False where it is saved already. Raises as `read` does."""
    prompts = read()
    if prompt in prompts:
        return False
    file = path()
    file.parent.mkdir(parents=True, exist_ok=True)
    lines = "".join(f"    {toml_text.of_value(one)},\n" for one in [*prompts, prompt])
    write_whole(file, f"{_HEAD}\n[samples]\nprompts = [\n{lines}]\n".encode())
    return True
