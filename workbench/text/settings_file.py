"""The user's settings: the look and the keys of the app, in a file that the app never writes."""

import tomllib
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from engine import guarded, likeness, user_dirs
from workbench.text.sanitize import sanitize_line

_NAMES = ("keymap", "theme")
CheckKeymap = Callable[[Mapping[str, str]], tuple[dict[str, str], list[str]]]


@dataclass(frozen=True, slots=True)
class Settings:
    """What the file says of them, as far as it is right; what is wrong with the rest."""

    theme: str = ""
    keymap: Mapping[str, str] = field(default_factory=dict)
    """Keys by the ids of their bindings, as Textual takes them."""
    problems: tuple[str, ...] = ()


def path() -> Path:
    """Where the file is looked for."""
    return user_dirs.config() / "settings.toml"


def read(themes: Iterable[str], check_keymap: CheckKeymap) -> Settings:
    """Read it; without a file nothing is set."""
    try:
        document = guarded.toml_document(path())
    except FileNotFoundError:
        return Settings()
    except tomllib.TOMLDecodeError as error:
        return Settings(problems=(sanitize_line(f"It is no TOML: {error}"),))
    except (OSError, ValueError) as error:
        return Settings(problems=(f"It can't be read: {guarded.reason(error)}",))
    problems = [
        f"{sanitize_line(name)}: there is no such setting. "
        f"{likeness.question(name, _NAMES)} Known: {', '.join(_NAMES)}".replace("  ", " ")
        for name in document
        if name not in _NAMES
    ]
    theme, of_theme = _theme(document.get("theme", ""), sorted(themes))
    keymap, of_keymap = _keymap(document.get("keymap", {}), check_keymap)
    every = (*problems, *of_theme, *of_keymap)
    return Settings(theme, keymap, tuple(sanitize_line(problem, 2_000) for problem in every))


def _theme(value: Any, themes: list[str]) -> tuple[str, list[str]]:
    if value == "" or value in themes:
        return value, []
    alike = likeness.question(str(value), themes)
    names = f"Known: {', '.join(themes)}"
    return "", [f"theme = {value!r}: there is no such theme. {alike} {names}".replace("  ", " ")]


def _keymap(value: Any, check_keymap: CheckKeymap) -> tuple[dict[str, str], list[str]]:
    if not isinstance(value, dict):
        return {}, ['keymap: it is no table. Write [keymap], and below it app-quit = "Q"']
    texts = {id: keys for id, keys in value.items() if isinstance(keys, str)}
    problems = [
        f'keymap.{id} = {keys!r}: it is no text. Write it as {id} = "x", or "x,y" for two keys'
        for id, keys in value.items()
        if id not in texts
    ]
    if not texts:
        return {}, problems
    right, wrong = check_keymap(texts)
    return right, [*problems, *wrong]
