"""What a key is called where a text names it: as the user's keymap has it."""

from typing import Any

from textual.app import App
from textual.binding import Binding
from textual.dom import DOMNode
from textual.keys import Keys

_IN_WORDS = {key.value for key in Keys if "+" not in key.value}


def key_name(app: App[Any], place: type[DOMNode], id: str) -> str:
    """The first key of a place's binding: a character as it is typed, others by their names.

    Raises KeyError where the place has no binding of that id.
    """
    defaults = [
        binding
        for base in place.__mro__
        for binding in Binding.make_bindings(vars(base).get("BINDINGS", ()))
        if binding.id == id
    ]
    if not defaults:
        raise KeyError(id)
    keys = app._keymap.get(id, defaults[0].key)
    first = defaults[0].with_key(keys.partition(",")[0])
    return first.key if first.key in _IN_WORDS else app.get_key_display(first)
