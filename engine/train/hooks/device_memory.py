"""Memory of the device that a run trains on, in GiB; no other device of the machine is asked.

Apple's have not been run by us. `torch.accelerator` fails on them before PyTorch 2.14, so they are
asked by `torch.mps`, which knows of no peaks: what it took from the system stays as its pool.
"""

from typing import NamedTuple

import torch

from engine.units import GIB

Figure = float | None


class DeviceMemory(NamedTuple):
    """What tensors hold, and what PyTorch has taken for them; None where nobody can tell."""

    allocated_gib: Figure = None
    reserved_gib: Figure = None


def now(device: str) -> DeviceMemory:
    """At this moment; `device` is PyTorch's name of its kind."""
    match device:
        case "cuda":
            return _in_gib(torch.cuda.memory_allocated(), torch.cuda.memory_reserved())
        case "mps":
            return _in_gib(
                torch.mps.current_allocated_memory(), torch.mps.driver_allocated_memory()
            )
    return DeviceMemory()


def most(device: str) -> DeviceMemory:
    """The most since `forget`."""
    match device:
        case "cuda":
            return _in_gib(torch.cuda.max_memory_allocated(), torch.cuda.max_memory_reserved())
        case "mps":
            return _in_gib(None, torch.mps.driver_allocated_memory())
    return DeviceMemory()


def forget(device: str) -> None:
    """Begin anew: nothing is kept in reserve, and there were no peaks."""
    match device:
        case "cuda":
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        case "mps":
            torch.mps.empty_cache()


def _in_gib(allocated: int | None, reserved: int) -> DeviceMemory:
    return DeviceMemory(
        None if allocated is None else round(allocated / GIB, 3), round(reserved / GIB, 3)
    )
