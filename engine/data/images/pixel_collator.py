"""Batches with the pixels of their images, read in threads while earlier steps are at work."""

from concurrent.futures import Future, ThreadPoolExecutor
from typing import Any

import torch

from engine.data.batches import Collate
from engine.data.images import image_file
from engine.data.images.image_tokenizer import FILES, LOOK, ImageTokenizer

_THREADS = 4
_MODEL_INPUTS = ("pixel_values", "image_position_ids")


class Pixels:
    """Pixels of one batch's images, there or under way."""

    def __init__(self, images: list[Future[dict[str, torch.Tensor]]]) -> None:
        self._images = images

    def on(self, device: torch.device) -> dict[str, torch.Tensor]:
        """The model's inputs once they are there.

        pixel_values is (images, 3, side, side) for Gemma 3, else (images, patches, numbers).
        """
        images = [image.result() for image in self._images]
        return {name: torch.cat([one[name] for one in images]).to(device) for name in images[0]}


class PixelCollator:
    """A collator on top of another; batches without an image stay as they are.

    Beside the pixels it tells the model which tokens are images, upon which Gemma 3 and the large
    Gemma 4 let the tokens of an image see each other in both directions.
    """

    def __init__(self, collator: Collate, sight: ImageTokenizer) -> None:
        self.pad_token_id = collator.pad_token_id
        self._collator, self._sight = collator, sight
        self._processor = sight.processor()
        self._threads = ThreadPoolExecutor(_THREADS, "images")

    def __call__(self, sequences: list[dict[str, Any]]) -> dict[str, Any]:
        """A batch whose pixels are under way."""
        batch = self._collator(sequences)
        files = [file for sequence in sequences for file in sequence[FILES]]
        if not files:
            return batch
        token_types = "token_type_ids" if self._sight.kind == "gemma3" else "mm_token_type_ids"
        return {
            **batch,
            token_types: (batch["input_ids"] == self._sight.image_token).long(),
            LOOK: Pixels([self._threads.submit(self._preprocessed, file) for file in files]),
        }

    def _preprocessed(self, file: str) -> dict[str, torch.Tensor]:
        # Crops of an image would have tokens of their own, which rows are prepared without.
        more = {"do_pan_and_scan": False} if self._sight.kind == "gemma3" else {}
        inputs = self._processor(images=[image_file.read(file)], return_tensors="pt", **more)
        return {name: inputs[name] for name in _MODEL_INPUTS if name in inputs}
