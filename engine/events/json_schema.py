"""The JSON Schema of an event's line, derived from the classes; printed for docs/."""

import json
from typing import Any

import msgspec

from engine.events.kinds import SCHEMA_VERSION, AnyEvent


def schema() -> dict[str, Any]:
    """The JSON Schema (2020-12) of one line."""
    document: dict[str, Any] = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": f"gemma-bench event, schema {SCHEMA_VERSION}",
        **msgspec.json.schema(AnyEvent),
    }
    for kind in document["$defs"].values():
        # The log stamps both, though a struct can be made without.
        if "kind" in kind.get("properties", {}):
            kind["required"] = [*kind["required"], "t", "time"]
    plain: dict[str, Any] = json.loads(msgspec.json.encode(document))
    return plain


if __name__ == "__main__":
    print(json.dumps(schema(), indent=2))
