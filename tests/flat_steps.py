"""Steps written down without nesting: what is no field of a step is one of its metrics."""

from typing import Any

import msgspec

from engine.events import Step

_FIELDS = {field.name for field in msgspec.structs.fields(Step)}
_NOT_MEASURED = ("allocated_gib", "reserved_gib")
"""None of these means that there is no accelerator."""


def flat_step(**figures: Any) -> Step:
    """A step."""
    fields = {name: value for name, value in figures.items() if name in _FIELDS}
    return Step(**fields, metrics=_metrics(figures))


def changed(event: Step, /, **figures: Any) -> Step:
    """A step with other figures."""
    fields = {name: value for name, value in figures.items() if name in _FIELDS}
    metrics = {**event.metrics, **_metrics(figures)}
    return msgspec.structs.replace(event, **fields, metrics=metrics)


def _metrics(figures: dict[str, Any]) -> dict[str, Any]:
    return {
        name: value
        for name, value in figures.items()
        if name not in _FIELDS and not (value is None and name in _NOT_MEASURED)
    }
