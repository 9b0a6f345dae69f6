"""Rows of a table of E2B's size, mapped from its file: `python bench/speed/host_tables.py [RUNS]`.

The file is made of holes, so that no disk is measured: how long 1,024 rows take that were never
read, how long once they were, and by how much the process grew for all that were.
"""

import json
import statistics
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

from engine.model import mapped_tensor

ROWS, WIDTH, TOKENS = 262_144, 35 * 256, 1024
NAME = "embed_tokens_per_layer.weight"
MIB = 1 << 20


def main(runs: int = 5) -> None:
    """Print medians."""
    with tempfile.TemporaryDirectory(prefix="gemma-bench-") as folder:
        make(Path(folder) / "model.safetensors")
        resident = psutil.Process().memory_info().rss
        table = mapped_tensor.map_tensor(Path(folder), NAME)
        order = torch.randperm(ROWS, generator=torch.Generator().manual_seed(0))
        batches = order.split(TOKENS)[:runs]
        first, again = ([lookup_ms(table, ids) for ids in batches] for _ in range(2))
        grown = psutil.Process().memory_info().rss - resident
    print(f"first time {statistics.median(first):.1f} ms, again {statistics.median(again):.1f} ms")
    rows = runs * TOKENS * WIDTH * 2 / MIB
    print(f"{grown / MIB:.0f} MiB resident for {rows:.0f} of {table.nbytes / MIB:.0f} MiB")


def lookup_ms(table: torch.Tensor, ids: torch.Tensor) -> float:
    """How long rows take to be gathered."""
    began = time.perf_counter()
    torch.index_select(table, 0, ids)
    return 1000 * (time.perf_counter() - began)


def make(file: Path) -> None:
    """A checkpoint with that table alone."""
    size = ROWS * WIDTH * 2
    tensors = {NAME: {"dtype": "BF16", "shape": [ROWS, WIDTH], "data_offsets": [0, size]}}
    header = json.dumps(tensors).encode()
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + size)


if __name__ == "__main__":
    main(*map(int, sys.argv[1:]))
