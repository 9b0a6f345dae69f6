"""Per-layer embeddings in host memory: the checkpoint's own pages, of which a batch takes rows.

Nothing of it is a parameter or a buffer, so no device is given the table; the arithmetic is that
of transformers' scaled embedding.
"""

from collections import deque
from collections.abc import Callable
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any
from weakref import WeakSet, ref

import torch

from engine.data.batches import Collate
from engine.gemma.lora_targets import PER_LAYER_TABLE
from engine.model import mapped_tensor
from engine.model.patches.partial_models import AbsentTable
from engine.model.protocols import LanguageModel

_PLACEHOLDERS = ("image_token_id", "video_token_id", "audio_token_id")
"""Tokens that Gemma's multimodal classes look up as padding."""
FetchRows = Callable[[], torch.Tensor]
"""Gives rows of the table, (batch, length, width) in its type."""


class HostTable(torch.nn.Module):
    """A frozen table that stays where it is; `forward` brings the rows of its tokens."""

    def __init__(
        self, table: torch.Tensor, scale: float, dtype: torch.dtype, device: torch.device
    ) -> None:
        """Take a table, (vocabulary, width) on the host, whose rows are used in `dtype`."""
        super().__init__()
        self.table = table
        self.dtype = dtype
        self.device = device
        self.embed_scale = torch.nn.Buffer(
            torch.tensor(scale, dtype=dtype, device=device), persistent=False
        )
        self.placeholders: dict[int, int] = {}
        self._expected: tuple[torch.Tensor, FetchRows] | None = None

    def rows(self, ids: torch.Tensor) -> torch.Tensor:
        """Rows of the table for tokens that are on the host, in its own type.

        (batch, length) integers to (batch, length, width), in memory that a GPU can copy from on
        its own.
        """
        for token, other in self.placeholders.items():
            ids = torch.where(ids == token, other, ids)
        width = self.table.shape[1]
        # Not run on a GPU yet: pinned rows, so that the copy to it need not be waited for.
        is_pinned = self.device.type == "cuda"
        rows = torch.empty(ids.numel(), width, dtype=self.table.dtype, pin_memory=is_pinned)
        torch.index_select(self.table, 0, ids.flatten(), out=rows)
        return rows.view(*ids.shape, width)

    def expect(self, ids: torch.Tensor, fetch: FetchRows) -> None:
        """Announce the tokens of the next forward pass, and where their rows come from."""
        self._expected = ids, fetch

    def forward(self, input_ids: torch.Tensor) -> torch.Tensor:
        """Scaled rows: (batch, length) integers to (batch, length, width) in `dtype`, there too."""
        expected, self._expected = self._expected, None
        if expected is not None and _are_same(expected[0], input_ids):
            rows = expected[1]()
        else:
            rows = self.rows(input_ids.cpu())
        rows = rows.to(input_ids.device, non_blocking=True).to(self.dtype)
        return rows * self.embed_scale


def _are_same(expected: torch.Tensor, ids: torch.Tensor) -> bool:
    """Whether tokens are those announced; on a GPU, which would be waited for, by their shape."""
    if expected.shape != ids.shape or ids.device.type != "cpu":
        return expected.shape == ids.shape
    return torch.equal(expected, ids)


def map_table(model: LanguageModel, folder: Path, dtype: torch.dtype) -> None:
    """Map the table of a model that was loaded without it from its files.

    Raises `ValueError` where the model has none, or the files none of its shape.
    """
    text: Any = next(
        (m for m in model.modules() if isinstance(getattr(m, PER_LAYER_TABLE, None), AbsentTable)),
        None,
    )
    if text is None:
        raise ValueError("the model has no per-layer embeddings to keep in host memory")
    table = mapped_tensor.map_tensor(folder, f"{PER_LAYER_TABLE}.weight")
    config = text.config
    shape = (
        config.vocab_size_per_layer_input,
        config.num_hidden_layers * config.hidden_size_per_layer_input,
    )
    if tuple(table.shape) != shape:
        raise ValueError(
            f"{PER_LAYER_TABLE} is {tuple(table.shape)} in its file, where {shape} is needed"
        )
    on_host = HostTable(table, getattr(text, PER_LAYER_TABLE).scale, dtype, model.device)
    tokens = (getattr(model.config, name, None) for name in _PLACEHOLDERS)
    on_host.placeholders = {token: config.pad_token_id for token in tokens if token is not None}
    setattr(text, PER_LAYER_TABLE, on_host)


def table_of(model: LanguageModel) -> HostTable | None:
    """The table of a model that has it in host memory."""
    return next((module for module in model.modules() if isinstance(module, HostTable)), None)


def table_parameters(model: LanguageModel) -> int:
    """How many parameters the table has, which PyTorch doesn't count."""
    table = table_of(model)
    return table.table.numel() if table else 0


FETCHED = "per_layer_rows"
"""What a batch calls its rows."""
_AHEAD = 2
"""Batches whose rows are held at a time; an accumulation may have many more."""

Batch = dict[str, Any]


class PrefetchedRows:
    """Rows of one batch: under way, there, or still waiting for those of earlier batches."""

    def __init__(self, ids: torch.Tensor, fetcher: "TablePrefetcher") -> None:
        self.ids = ids
        self._fetcher = fetcher
        self.is_waiting = True
        self._rows: Future[torch.Tensor] | None = None

    def start(self) -> None:
        """Look them up beside what is going on."""
        self.is_waiting = False
        self._rows = self._fetcher.look_up(self.ids)

    def announce(self) -> None:
        """Tell the table that its next tokens are these."""
        self._fetcher.table.expect(self.ids, self._take)

    def _take(self) -> torch.Tensor:
        if self.is_waiting:
            self.start()
        assert self._rows is not None, "rows are taken once"
        rows, self._rows = self._rows.result(), None
        self._fetcher.release(self)
        return rows


class TablePrefetcher:
    """A collator on top of another: batches come with their rows, in the order they are used."""

    def __init__(self, collator: Collate, table: HostTable) -> None:
        self.pad_token_id = collator.pad_token_id
        self.table = table
        self._collator = collator
        self._thread = ThreadPoolExecutor(1, "rows")
        # A batch that is never used, as where a run goes on behind it, must not hold up the others.
        self._started: WeakSet[PrefetchedRows] = WeakSet()
        self._waiting: deque[ref[PrefetchedRows]] = deque()

    def __call__(self, sequences: list[dict[str, Any]]) -> Batch:
        """A batch whose rows are under way, or will be."""
        batch = self._collator(sequences)
        fetched = PrefetchedRows(batch["input_ids"], self)
        self._waiting.append(ref(fetched))
        self._start_next()
        return {**batch, FETCHED: fetched}

    def look_up(self, ids: torch.Tensor) -> Future[torch.Tensor]:
        """The rows of tokens, some time."""
        return self._thread.submit(self.table.rows, ids)

    def release(self, fetched: PrefetchedRows) -> None:
        """There is room for those of another batch."""
        self._started.discard(fetched)
        self._start_next()

    def _start_next(self) -> None:
        while self._waiting and len(self._started) < _AHEAD:
            waiting = self._waiting.popleft()()
            if waiting is not None and waiting.is_waiting:
                waiting.start()
                self._started.add(waiting)
