"""What an adapter adds to each weight of its base, by its own arithmetic, some rows at a time."""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from safetensors import safe_open

from engine import guarded
from engine.model.lora import MAGNITUDE
from engine.problems import Refusal
from engine.run.adapters import CONFIG, WEIGHTS

_WITHIN_DECODER = re.compile(
    r"(?:base_model\.model\.)?(?:model\.)?(?:language_model\.)?(?:model\.)?(layers\.\d+\..+)"
)
"""Names of adapters and of files, which put Gemma 3's language model in another place than its
class does (transformers 5.23, conversion_mapping.py)."""
_EXPERTS = re.compile(r"(.+\.experts)(?:\.base_layer)?")
"""PEFT wraps one stack of experts around the other, in the order it comes upon them."""
_PART = re.compile(rf"(.+?)\.(lora_A|lora_B|{MAGNITUDE})(?:\.weight)?")
_AS_MADE = {
    "peft_type": "LORA", "bias": "none", "lora_bias": False, "fan_in_fan_out": False,
    "modules_to_save": None, "trainable_token_indices": None, "layer_replication": None,
    "use_qalora": False, "use_bdlora": None, "arrow_config": None, "kasa_config": None,
    "alora_invocation_tokens": None, "velora_config": None, "monteclora_config": None,
}  # fmt: skip
"""What the engine's own adapters say; another value means arithmetic that isn't done here."""


def within_decoder(name: str) -> str | None:
    """A weight's name within the language model; None for one that lies elsewhere."""
    match = _WITHIN_DECODER.fullmatch(name)
    return match[1] if match else None


@dataclass(frozen=True, slots=True)
class Update:
    """What becomes of one weight: a matrix (out, in), or a stack of them (experts, out, in)."""

    a: torch.Tensor
    """(experts, r, in), of one where it is no stack."""
    b: torch.Tensor
    """(experts, out, r), with the adapter's scale in it."""
    magnitude: torch.Tensor | None = None
    """DoRA's lengths of rows, (out,)."""

    def updated(self, base: torch.Tensor, matrix: int, first_row: int) -> torch.Tensor:
        """Rows of a matrix, in float32, with the update: (rows, in) to (rows, in).

        LoRA: W + s BA (arXiv 2106.09685); DoRA: m (W + s BA) / |W + s BA| by rows (2402.09353).
        """
        rows = slice(first_row, first_row + len(base))
        weight = torch.addmm(base, self.b[matrix, rows], self.a[matrix])
        if self.magnitude is not None:
            weight *= (self.magnitude[rows] / weight.norm(dim=1)).unsqueeze(1)
        return weight


@dataclass(frozen=True, slots=True)
class _Module:
    """An adapted module's tensors by part, as the adapter's file calls them."""

    name: str
    parts: dict[str, str]


class Updates:
    """An adapter's updates by the weights they belong to, each read when it is asked for."""

    def __init__(self, adapter: Path) -> None:
        """Raises `Refusal` where it isn't merged by adding to weights."""
        self._adapter = adapter
        config = guarded.json_document(adapter / CONFIG)
        _require_as_made(adapter, config)
        self._alpha = float(config["lora_alpha"])
        self._is_rslora = bool(config.get("use_rslora"))
        self._file: Any = safe_open(adapter / WEIGHTS, "pt")
        self._modules = list(_modules(adapter, self._file.keys()))
        self._unused = {module.name for module in self._modules}

    def of(self, weight: str, shape: tuple[int, ...]) -> Update | None:
        """The update of a weight of this name and shape in the base's files; None without one."""
        name = within_decoder(weight)
        for module in self._modules if name else ():
            if module.name in self._unused and self._belongs(module, str(name), shape):
                self._unused.discard(module.name)
                return self._read(module, shape)
        return None

    def require_all_used(self) -> None:
        """Raises `Refusal` where a module matched no weight, since it would silently be lost."""
        if self._unused:
            names = guarded.first_few(sorted(self._unused), 3)
            reason = f"{len(self._unused)} of its modules match no weight of the base: {names}"
            fix = "Put the base back that the run was trained on"
            raise Refusal.of(str(self._adapter), reason, fix)

    def __len__(self) -> int:
        return len(self._modules)

    def _belongs(self, module: _Module, weight: str, shape: tuple[int, ...]) -> bool:
        stack = _EXPERTS.fullmatch(module.name)
        if stack is None:
            return weight == f"{module.name}.weight"
        if weight.rpartition(".")[0] != stack[1]:
            return False
        inputs, outputs = (
            self._file.get_slice(module.parts[part]).get_shape()[axis]
            for part, axis in (("lora_A", 1), ("lora_B", 0))
        )
        return len(shape) == 3 and (outputs, inputs) == (shape[1], shape[2])

    def _read(self, module: _Module, shape: tuple[int, ...]) -> Update:
        """Experts' A is (experts * r, in) and B (out, r * experts): peft's ParamWrapper."""
        a, b = (self._file.get_tensor(module.parts[part]).float() for part in ("lora_A", "lora_B"))
        experts = shape[0] if len(shape) == 3 else 1
        rank = a.shape[0] // experts
        if (b.shape[0], rank * experts, a.shape[1]) != (shape[-2], b.shape[1], shape[-1]):
            reason = f"{module.name} is of another shape than the base's weight {list(shape)}"
            fix = "Put the base back that the run was trained on"
            raise Refusal.of(str(self._adapter), reason, fix)
        scale = self._alpha / (math.sqrt(rank) if self._is_rslora else rank)
        magnitude = module.parts.get(MAGNITUDE)
        return Update(
            a.view(experts, rank, -1),
            (scale * b).view(-1, rank, experts).permute(2, 0, 1).contiguous(),
            self._file.get_tensor(magnitude).float().flatten() if magnitude else None,
        )


def _modules(adapter: Path, names: Iterator[str]) -> Iterator[_Module]:
    parts: dict[str, dict[str, str]] = {}
    for name in names:
        match = _PART.fullmatch(name)
        module = within_decoder(match[1]) if match else None
        if match is None or module is None:
            raise _not_merged(adapter, f"it has {name}")
        parts.setdefault(module, {})[match[2]] = name
    for module, by_part in parts.items():
        if not {"lora_A", "lora_B"} <= set(by_part):
            raise _not_merged(adapter, f"{module} lacks a part")
        yield _Module(module, by_part)


def _require_as_made(adapter: Path, config: dict[str, Any]) -> None:
    odd = [key for key, value in _AS_MADE.items() if config.get(key, value) != value]
    odd += [key for key in ("rank_pattern", "alpha_pattern") if config.get(key)]
    if config.get("init_lora_weights", True) not in {True, False, "gaussian"}:
        # PiSSA, OLoRA and their like train beside a base that is changed at the start.
        odd.append("init_lora_weights")
    if odd:
        reason = f"its {', '.join(f'{key} is {config.get(key)!r}' for key in odd)}"
        raise _not_merged(adapter, reason)


def _not_merged(adapter: Path, reason: str) -> Refusal:
    reason = f"{reason}, which no adapter of a run here has and which isn't merged"
    return Refusal.of(str(adapter), reason, "Put the run's own adapter back")
