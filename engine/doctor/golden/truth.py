"""The golden figures that are shipped, and by how much an install's own differ from them.

`python -m tools.golden_figures` makes the file anew, on packages that `python -m bench.golden` and
`python -m bench.golden_images` have compared with other implementations.
"""

import json
import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from functools import cache
from pathlib import Path
from typing import Any

from engine.data.encoding.tokens import IGNORED, Tokens
from engine.doctor.golden.figures import Figures
from engine.doctor.specimens import KINDS
from engine.gemma.shapes import Dialect

_LOSSES = ("loss", "scored", "adapted")
Stages = Mapping[str, list[list[float]]]
FILE = Path(__file__).with_name("golden.json")


LIMIT = 8e-5
"""Nats that a loss may be off by, and relative differences of all else."""
FORMATS: Mapping[str, Mapping[str, Any]] = {"float32": {}, "nf4": {"quantization": "nf4"}}
"""What a recipe's model says beside float32. NF4 computes in float32 here, as products in bfloat16
would hide behind rounding what is read wrong; for these there is `rounding`."""
DIALECT = dict.fromkeys(KINDS, Dialect.GEMMA4) | {
    "gemma3": Dialect.GEMMA3,
    "gemma4_moe": Dialect.GEMMA4_LARGE,
}


@cache
def document() -> dict[str, Any]:
    """All that is shipped: `rows` by dialect, and `figures` by kind and number format."""
    read: dict[str, Any] = json.loads(FILE.read_bytes())
    return read


def rows(kind: str, talks: Mapping[str, Any]) -> list[Tokens]:
    """Rows of fixed tokens in the dialect of a tiny Gemma, every answer of which carries loss."""
    tokens = []
    for talk in talks[DIALECT[kind]]:
        ids, supervised = talk["ids"], set(talk["assistant"])
        labels = [token if place in supervised else IGNORED for place, token in enumerate(ids)]
        tokens.append(Tokens(ids, labels, is_truncated=False))
    return tokens


@dataclass(frozen=True, slots=True)
class Move:
    """How a figure differs from the golden one."""

    name: str
    """`loss`, `scored`, `adapted`, `gradients.lora_A`, `logits`, or a module of the decoder."""
    spans: tuple[int, ...]
    """Which of the row's spans differ too much, of a module."""
    difference: float
    """Of a loss in nats, else relative to the figure's size."""
    ratio: float
    """Its size against the golden one's; 1 where it is as large."""

    @property
    def error(self) -> float:
        """What is compared with the limit."""
        return math.inf if math.isnan(self.difference) else self.difference


def moves(golden: Mapping[str, Any], figures: Figures) -> list[Move]:
    """Every figure against its golden one, modules in the order in which they end, losses last.

    A module that either side lacks is passed over: what it does shows in those around it.
    """
    own = asdict(figures)
    candidates = moved_stages(golden["stages"], own["stages"])
    largest = max(map(abs, golden["logits"]))
    pairs = zip(golden["logits"], own["logits"], strict=True)
    off = max(abs(one - other) for one, other in pairs) / largest
    candidates.append(Move("logits", (), off, max(map(abs, own["logits"])) / largest))
    candidates += [
        Move(name, (), abs(own[name] - golden[name]), own[name] / golden[name]) for name in _LOSSES
    ]
    candidates += [
        Move(f"gradients.{half}", (), abs(norm / golden["gradients"][half] - 1),
             norm / golden["gradients"][half])
        for half, norm in own["gradients"].items()
    ]  # fmt: skip
    return candidates


def moved_stages(golden: Stages, own: Stages) -> list[Move]:
    """Each module that both have, in the order of `own`."""
    return [_stage(name, golden[name], spans) for name, spans in own.items() if name in golden]


def _stage(name: str, golden: list[list[float]], figures: list[list[float]]) -> Move:
    """Projections and sizes of each span, relative to the golden size."""
    differences, ratios = [], []
    for (projection, size), (own_projection, own_size) in zip(golden, figures, strict=True):
        scale = max(size, 1e-6)
        differences.append(max(abs(own_projection - projection), abs(own_size - size)) / scale)
        ratios.append(own_size / scale)
    spans = tuple(span for span, off in enumerate(differences) if not off <= LIMIT)
    worst = max(range(len(differences)), key=lambda span: differences[span])
    return Move(name, spans, differences[worst], ratios[worst])
