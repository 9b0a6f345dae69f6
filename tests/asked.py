"""Requests of runs, for tests that need one and don't care what it trains."""

from typing import Any

from engine.hardware.profiles import Profile
from engine.recipe import validate
from engine.run.request import Request

CPU = Profile("cpu", "CPU", "cpu", memory_gib=16.0, usable_share=0.8, has_bf16=False)


def request(name: str = "mine", overrides: tuple[str, ...] = (), **more: Any) -> Request:
    """A request of the quickstart recipe on a CPU."""
    recipe, _ = validate.load("quickstart", list(overrides))
    return Request(name, recipe, CPU, overrides=overrides, **more)
