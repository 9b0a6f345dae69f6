"""Which card a process sees: one, whatever else the machine has."""

import os

_ROCM = "HIP_VISIBLE_DEVICES"
"""ROCm takes it before CUDA's where it is set (PyTorch's torch/cuda/__init__.py)."""


def only(name: str) -> dict[str, str]:
    """Variables by which a process sees the card of that name alone; none where it is empty."""
    variables = {"CUDA_VISIBLE_DEVICES": name} | ({_ROCM: name} if _ROCM in os.environ else {})
    return {"CUDA_DEVICE_ORDER": "PCI_BUS_ID", **variables} if name else variables


def first() -> str:
    """The first of those that the environment leaves, for where no driver names them."""
    names = os.environ.get(_ROCM) or os.environ.get("CUDA_VISIBLE_DEVICES") or "0"
    return names.split(",")[0]
