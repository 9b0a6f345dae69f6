"""Which card this is, under which driver and versions, and what can be done with it."""

import os
import shutil
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch

from engine import installed
from engine.card_stages.card_trial import CardTrial, Part
from engine.hardware import card_memory, card_probe
from engine.kernels import probe
from engine.units import GIB


def parts(trial: CardTrial) -> Iterator[Part]:
    """The facts, in one part; it fails where a run could not compute on the card."""
    card_memory.used_before()
    answer = probe.answers("cuda")
    product = answer["product"]
    if product:
        yield {"passed": False, **answer}
        return
    card = torch.cuda.get_device_properties()
    free_bytes, total_bytes = torch.cuda.mem_get_info()
    own_bytes = card_memory.of_this_process(str(card.uuid)).own_bytes
    yield {
        "passed": not answer["nf4"],
        "card": card.name,
        "uuid": str(card.uuid),
        "visible_cards": torch.cuda.device_count(),
        "capability": f"{card.major}.{card.minor}",
        "memory_gib": round(total_bytes / GIB, 3),
        "free_gib": round(free_bytes / GIB, 3),
        "driver": card_probe.driver(),
        "cuda": answer["cuda"],
        "cudnn": torch.backends.cudnn.version(),
        "nf4": answer["nf4"] or "works",
        "triton": answer["triton"] or "works",
        "c_compiler": next(filter(None, map(shutil.which, ("cc", "gcc", "clang"))), None),
        "python_headers": (Path(sysconfig.get_path("include")) / "Python.h").is_file(),
        "allocator": os.environ.get("PYTORCH_CUDA_ALLOC_CONF", ""),
        "driver_tells_own_gib": None if own_bytes is None else round(own_bytes / GIB, 3),
        "usable_gib": round(trial.profile.usable_gib, 3),
        "held_by_others": trial.profile.memory_of_others,
        "models": "tiny" if trial.is_tiny else "of real shapes",
        "versions": installed.versions(),
    }
