"""Sequences on the disk, in the order of an epoch, as micro-batches on the device.

Orders are of each epoch by itself, so that a run can go on in any of them.
"""

import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import torch
from accelerate import Accelerator
from datasets import Dataset, Features, List, Value
from datasets.arrow_writer import ArrowWriter
from torch.utils.data import DataLoader, Sampler
from transformers.trainer_pt_utils import get_length_grouped_indices

from engine.data.batches import WEIGHTS, Collate, TokenSequence
from engine.data.images.image_tokenizer import FILES, ImageTokenizer
from engine.model import host_embeddings
from engine.model.host_embeddings import TablePrefetcher
from engine.model.patches import frozen_towers
from engine.model.protocols import AdaptedModel
from engine.recipe.schema import Data, Training

_WRITTEN_ROWS = 100
"""Sequences that are lists of Python at a time; those of a thousand would take 60 MiB."""
_COLUMNS = ("input_ids", "labels", "position_ids")


class Shuffled(Sampler[int]):
    """A permutation per epoch that follows from the seed and the epoch's number alone.

    `rows_per_step` are the sequences of a whole optimizer step.
    """

    def __init__(self, lengths: Sequence[int], rows_per_step: int, seed: int) -> None:
        self._lengths = list(lengths)
        self._rows_per_step = rows_per_step
        self._seed = seed
        self._epoch = 0

    def set_epoch(self, epoch: int) -> None:
        """Another permutation; accelerate calls it as an epoch begins."""
        self._epoch = epoch

    def __len__(self) -> int:
        return len(self._lengths)

    def __iter__(self) -> Iterator[int]:
        return iter(self._permutation(torch.Generator().manual_seed(self._seed + self._epoch)))

    def _permutation(self, generator: torch.Generator) -> list[int]:
        order: list[int] = torch.randperm(len(self._lengths), generator=generator).tolist()
        return order


class LongestFirst(Shuffled):
    """The sequences of the first optimizer step are the longest there are.

    A card that is too small then fails in the first step, and CUDA's allocator never has to place a
    larger block than it has placed before.
    """

    def _permutation(self, generator: torch.Generator) -> list[int]:
        order = super()._permutation(generator)
        longest = sorted(order, key=lambda row: -self._lengths[row])[: self._rows_per_step]
        in_front = set(longest)
        return [*longest, *(row for row in order if row not in in_front)]


class GroupedByLength(Shuffled):
    """Sequences of like length together, the longest first.

    As transformers' LengthGroupedSampler draws them, which goes on from what it drew before.
    """

    def _permutation(self, generator: torch.Generator) -> list[int]:
        order: list[int] = get_length_grouped_indices(
            self._lengths, self._rows_per_step, generator=generator
        )
        return order


def order_of(lengths: Sequence[int], rows_per_step: int, data: Data, device: str) -> Shuffled:
    """The order that suits rows and device.

    Rows of a batch are padded to the longest, so like lengths stand together; packed sequences are
    all about as long.
    """
    if not data.packing:
        return GroupedByLength(lengths, rows_per_step, data.seed)
    kind = Shuffled if device == "cpu" else LongestFirst
    return kind(lengths, rows_per_step, data.seed)


def loader_of(
    model: AdaptedModel,
    sequences: Sequence[TokenSequence],
    collate: Collate,
    training: Training,
    data: Data,
    accelerator: Accelerator,
    images: ImageTokenizer | None,
) -> DataLoader[Any]:
    """Micro-batches of an epoch; with pixels where there is an `images` tokenizer."""
    dataset, lengths = mapped(sequences, with_images=images is not None)
    device = accelerator.device.type
    rows_per_step = training.per_device_train_batch_size * training.gradient_accumulation_steps
    loader: DataLoader[Any] = accelerator.prepare(
        DataLoader(
            dataset,
            batch_size=training.per_device_train_batch_size,
            sampler=order_of(lengths, rows_per_step, data, device),
            collate_fn=_collator(model, collate, images),
            pin_memory=device == "cuda",
        )
    )
    return loader


def mapped(
    sequences: Sequence[TokenSequence], *, with_images: bool = False
) -> tuple[Dataset, list[int]]:
    """Sequences in a file that is mapped into memory, and the tokens of each.

    The file is gone when they are let go. Of images the names are kept.
    """
    columns = dict.fromkeys(_COLUMNS, List(Value("int32")))
    if len(sequences) and sequences[0].loss_weights:
        columns[WEIGHTS] = List(Value("float32"))
    images = {FILES: List(Value("string"))} if with_images else {}
    lengths = []
    with tempfile.TemporaryDirectory(prefix="gemma-bench-") as folder:
        path = str(Path(folder) / "sequences.arrow")
        features = Features({**columns, **images})
        with ArrowWriter(path=path, features=features, writer_batch_size=_WRITTEN_ROWS) as writer:
            for sequence in sequences:
                lengths.append(len(sequence.input_ids))
                row = {name: getattr(sequence, name) for name in columns}
                writer.write({**row, **({FILES: sequence.images} if with_images else {})})
            writer.finalize()
        return Dataset.from_file(path), lengths


def _collator(model: AdaptedModel, collate: Collate, images: ImageTokenizer | None) -> Collate:
    """The objective's own, with pixels and with rows of a host table where there are any."""
    if images:
        # Runs on text alone need neither Pillow nor an image processor.
        from engine.data.images.pixel_collator import PixelCollator

        frozen_towers.look_without_graph(model)
        collate = PixelCollator(collate, images)
    table = host_embeddings.table_of(model)
    return TablePrefetcher(collate, table) if table else collate
