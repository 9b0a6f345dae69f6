"""A tensor mapped from its checkpoint: memory is taken by what is read of it, and nothing else."""

import json
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import psutil
import pytest
import torch

from engine.model import host_embeddings, mapped_tensor
from tests import tiny

ENDING = "embed_tokens_per_layer.weight"
MIB = 1 << 20
Folder = Callable[[str], Path]


@pytest.mark.skipif(sys.platform != "linux", reason="reads /proc")
def test_the_table_is_the_pages_of_its_file(gemma_folder: Folder) -> None:
    folder = gemma_folder("embedded")
    held = host_embeddings.table_of(tiny.loaded(folder, host_tables=True).model)
    assert held is not None
    table = held.table
    maps = Path("/proc/self/maps").read_text().splitlines()
    (line,) = (one for one in maps if first(one) <= table.data_ptr() < last(one))
    assert line.endswith(str(folder / "model.safetensors"))
    assert line.split()[1].startswith("r--")


def first(line: str) -> int:
    return int(line.split("-")[0], 16)


def last(line: str) -> int:
    return int(line.split()[0].split("-")[1], 16)


def checkpoint(file: Path, name: str, shape: tuple[int, int], kind: str = "BF16") -> int:
    """A file with one tensor of zeros that takes no room on the disk; gives its bytes."""
    size = shape[0] * shape[1] * 2
    told = {"dtype": kind, "shape": shape, "data_offsets": [0, size]}
    header = json.dumps({"__metadata__": {"format": "pt"}, name: told}).encode()
    header += b" " * (-len(header) % 8)
    with file.open("wb") as stream:
        stream.write(len(header).to_bytes(8, "little") + header)
        stream.truncate(8 + len(header) + size)
    return size


def test_rows_of_a_large_table_take_the_memory_of_rows(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    size = checkpoint(file, "model.embed_tokens_per_layer.weight", (65_536, 8192))
    before = psutil.Process().memory_info().rss
    table = mapped_tensor.map_tensor(tmp_path, ENDING)
    ids = torch.arange(0, 65_536, 700)
    assert not torch.index_select(table, 0, ids).any()
    grown = psutil.Process().memory_info().rss - before
    assert size == 1024 * MIB
    assert grown < 32 * MIB


_LOADING = """
import resource, sys
from tests import tiny
from engine.model import host_embeddings
from pathlib import Path
before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
gemma = tiny.loaded(Path(sys.argv[1]), dtype="bfloat16", host_tables=True)
after = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
print(after - before, host_embeddings.table_of(gemma.model).table.numel())
"""


@pytest.mark.skipif(sys.platform != "linux", reason="ru_maxrss is in KiB there")
def test_loading_never_holds_the_table(gemma_folder: Folder, tmp_path: Path) -> None:
    """A model whose table is nearly all of it, in a checkpoint of two files."""
    small, large = tmp_path / "model-00001.safetensors", tmp_path / "model-00002.safetensors"
    folder, rows = gemma_folder("embedded"), 524_288
    shutil.copytree(folder, tmp_path, dirs_exist_ok=True)
    (tmp_path / "model.safetensors").rename(small)
    names = json.loads(small.read_bytes()[8 : 8 + int.from_bytes(small.read_bytes()[:8], "little")])
    name = next(name for name in names if name.endswith(ENDING))
    size = checkpoint(large, name, (rows, names[name]["shape"][1]))
    files = {one: large.name if one == name else small.name for one in names}
    files.pop("__metadata__", None)
    index = {"metadata": {}, "weight_map": files}
    (tmp_path / "model.safetensors.index.json").write_text(json.dumps(index))
    config = json.loads((folder / "config.json").read_bytes())
    told = {**config, "vocab_size_per_layer_input": rows}
    (tmp_path / "config.json").write_text(json.dumps(told))
    asked = [sys.executable, "-c", _LOADING, str(tmp_path)]
    grown_kib, numbers = map(int, subprocess.check_output(asked).split()[-2:])
    assert numbers * 2 == size > 380 * MIB
    assert grown_kib * 1024 < 190 * MIB


def test_files_without_the_table_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="holds embed_tokens_per_layer"):
        mapped_tensor.map_tensor(tmp_path, ENDING)
    checkpoint(tmp_path / "model.safetensors", ENDING, (4, 4), "I16")
    with pytest.raises(ValueError, match="stored as I16"):
        mapped_tensor.map_tensor(tmp_path, ENDING)
