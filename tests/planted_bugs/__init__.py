"""Bugs that an install may have, each planted into the engine as its doctor begins."""

from tests.planted_bugs import adapters, decoder, number_formats, rows, steps, towers


def plant(bug: str) -> None:
    """Plant a bug by its name."""
    for theme in (adapters, decoder, number_formats, rows, steps, towers):
        if hasattr(theme, bug):
            getattr(theme, bug)()
            return
    raise LookupError(bug)
