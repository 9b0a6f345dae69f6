"""The packages whose code is simulated."""

from importlib import metadata

PACKAGES = ("torch", "transformers", "trl", "peft", "bitsandbytes", "accelerate", "gemma-bench")


def versions() -> dict[str, str]:
    """Version by package, as installed."""
    return {name: metadata.version(name) for name in PACKAGES}
