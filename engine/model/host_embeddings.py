"""Per-layer embeddings in host memory: the checkpoint's own pages, of which a batch takes rows.

Nothing of it is a parameter or a buffer, so no device is given the table; the arithmetic is that
of transformers' scaled embedding.
"""

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import wraps
from pathlib import Path
from typing import Any

import torch
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextModel

from engine.model import mapped_tensor

_NAME = "embed_tokens_per_layer"
_PLACEHOLDERS = ("image_token_id", "video_token_id", "audio_token_id")
"""Tokens that Gemma's multimodal classes look up as padding."""
Rows = Callable[[], torch.Tensor]


class HostTable(torch.nn.Module):
    """A frozen table that stays where it is; `forward` brings the rows of its tokens."""

    def __init__(
        self, table: torch.Tensor, scale: float, dtype: torch.dtype, device: torch.device
    ) -> None:
        super().__init__()
        self.table = table
        self.dtype = dtype
        self.device = device
        self.embed_scale = torch.nn.Buffer(
            torch.tensor(scale, dtype=dtype, device=device), persistent=False
        )
        self.placeholders: dict[int, int] = {}
        self._expected: tuple[torch.Tensor, Rows] | None = None

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of tokens that are on the host, in memory that a GPU can copy from on its own."""
        for token, other in self.placeholders.items():
            ids = torch.where(ids == token, other, ids)
        width = self.table.shape[1]
        # Not run on a GPU yet: pinned rows, so that the copy to it need not be waited for.
        pins = self.device.type == "cuda"
        found = torch.empty(ids.numel(), width, dtype=self.table.dtype, pin_memory=pins)
        torch.index_select(self.table, 0, ids.flatten(), out=found)
        return found.view(*ids.shape, width)

    def expect(self, ids: torch.Tensor, rows: Rows) -> None:
        """The tokens of the next forward pass, and what gives their rows without looking here."""
        self._expected = ids, rows

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Scaled rows, on the tokens' device."""
        expected, self._expected = self._expected, None
        if expected is not None and _is_same(expected[0], input_ids):
            found = expected[1]()
        else:
            found = self.rows(input_ids.cpu())
        found = found.to(input_ids.device, non_blocking=True).to(self.dtype)
        return found * self.embed_scale


def _is_same(expected: torch.Tensor, ids: torch.Tensor) -> bool:
    """Whether these are the tokens that were told; those on a GPU would have to be waited for."""
    if expected.shape != ids.shape or ids.device.type != "cpu":
        return expected.shape == ids.shape
    return torch.equal(expected, ids)


class _Absent(torch.nn.Module):
    """Holds the table's place while a model is loaded, so that its weights are not read."""

    def __init__(self, scale: float) -> None:
        super().__init__()
        self.scale = scale


@contextmanager
def left_out(is_on_host: bool) -> Iterator[None]:
    """While it lasts, models are loaded without their table where that is to be on the host."""
    made = Gemma4TextModel.__init__

    @wraps(made)
    def without(self: Any, *given: Any, **named: Any) -> None:
        made(self, *given, **named)
        if hasattr(self, _NAME):
            setattr(self, _NAME, _Absent(getattr(self, _NAME).scalar_embed_scale))
            self._keys_to_ignore_on_load_unexpected.add(_NAME)

    if is_on_host:
        Gemma4TextModel.__init__ = without
    try:
        yield
    finally:
        Gemma4TextModel.__init__ = made


def put_back(model: Any, folder: Path, dtype: torch.dtype) -> None:
    """Map the table of a model that was loaded without. Raises `ValueError` where it has none."""
    text = next((m for m in model.modules() if isinstance(getattr(m, _NAME, None), _Absent)), None)
    if text is None:
        raise ValueError("the model has no per-layer embeddings to keep in host memory")
    table = mapped_tensor.mapped(folder, f"{_NAME}.weight")
    config = text.config
    shape = (
        config.vocab_size_per_layer_input,
        config.num_hidden_layers * config.hidden_size_per_layer_input,
    )
    if tuple(table.shape) != shape:
        raise ValueError(f"{_NAME} is {tuple(table.shape)} in its file, where {shape} is needed")
    made = HostTable(table, getattr(text, _NAME).scale, dtype, model.device)
    tokens = (getattr(model.config, name, None) for name in _PLACEHOLDERS)
    made.placeholders = {token: config.pad_token_id for token in tokens if token is not None}
    setattr(text, _NAME, made)


def of(model: Any) -> HostTable | None:
    """The table of a model that has it in host memory."""
    return next((module for module in model.modules() if isinstance(module, HostTable)), None)


def parameters(model: Any) -> int:
    """Numbers in the table, which PyTorch doesn't count."""
    found = of(model)
    return found.table.numel() if found else 0
