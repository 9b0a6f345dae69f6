"""Bugs of images: their pixels, vision towers, projections, and the decoder's mask for them."""

from typing import Any

import torch
from PIL import Image
from transformers.models.gemma3 import modeling_gemma3 as gemma3
from transformers.models.gemma4 import image_processing_pil_gemma4 as pixels_of_gemma4
from transformers.models.gemma4 import modeling_gemma4 as gemma4
from transformers.models.gemma4_unified import modeling_gemma4_unified as unified
from transformers.models.siglip import modeling_siglip as siglip

from engine.data.images import image_file
from engine.data.images.pixel_collator import PixelCollator
from tests.planted_bugs.planting import built, loaded, returned


def channels_reversed() -> None:
    """As OpenCV has them: blue, green and red."""
    returned(image_file, "read", lambda _, image: Image.merge("RGB", image.split()[::-1]))


def pixels_not_normalised() -> None:
    def change(collator: Any, inputs: Any) -> Any:
        is_gemma3 = inputs["pixel_values"].dim() == 4
        pixels = inputs["pixel_values"]
        return {**inputs, "pixel_values": pixels * 0.5 + 0.5 if is_gemma3 else pixels}

    returned(PixelCollator, "_preprocessed", change)


def patches_by_columns() -> None:
    right = pixels_of_gemma4.convert_image_to_patches

    def wrong(image: Any, patch_size: int) -> Any:
        return right(image.transpose(0, 2, 1), patch_size)

    pixels_of_gemma4.convert_image_to_patches = wrong


def no_positions() -> None:
    def wrong(self: Any, pixel_values: torch.Tensor, **kwargs: Any) -> torch.Tensor:
        return self.patch_embedding(pixel_values).flatten(2).transpose(1, 2)

    siglip.SiglipVisionEmbeddings.forward = wrong


def positions_swapped() -> None:
    """Rows for columns."""
    right = gemma4.Gemma4VisionPatchEmbedder._position_embeddings

    def wrong(self: Any, ids: torch.Tensor, padding: torch.Tensor) -> torch.Tensor:
        return right(self, ids.flip(-1), padding)

    gemma4.Gemma4VisionPatchEmbedder._position_embeddings = wrong


def no_positions_without_a_tower() -> None:
    built(unified.Gemma4UnifiedVisionEmbedder,
          lambda m: setattr(m, "pos_norm", _Unplaced(m)))  # fmt: skip


class _Unplaced(torch.nn.LayerNorm):
    """Norms what it gets without what was added last."""

    def __init__(self, embedder: Any) -> None:
        super().__init__(embedder.pos_norm.normalized_shape)
        embedder.patch_ln2.register_forward_hook(self._keep)

    def _keep(self, module: Any, args: Any, output: torch.Tensor) -> None:
        self.__dict__["kept"] = output

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return super().forward(self.__dict__["kept"])


def axes_of_the_tower_swapped() -> None:
    right = gemma4.Gemma4VisionRotaryEmbedding.recomposition_frequencies
    gemma4.Gemma4VisionRotaryEmbedding.recomposition_frequencies = lambda self, freq: right(
        self, freq.flip(2)
    )


def causal_tower() -> None:
    built(siglip.SiglipAttention, lambda a: setattr(a, "is_causal", True))


def bounds_lost() -> None:
    """As where files are converted without the clipping of projections."""

    def change(model: Any) -> None:
        for name, bound in model.named_buffers():
            if name.endswith(("_min", "_max")):
                bound.mul_(torch.inf)

    loaded(change)


def pooled_by_columns() -> None:
    right = gemma4.Gemma4VisionPooler._avg_pool_by_positions

    def wrong(self: Any, states: torch.Tensor, ids: torch.Tensor, length: int) -> Any:
        return right(self, states, ids.flip(-1), length)

    gemma4.Gemma4VisionPooler._avg_pool_by_positions = wrong


def largest_of_patches() -> None:
    def change(projector: Any) -> None:
        projector.avg_pool = torch.nn.MaxPool2d(projector.kernel_size)

    built(gemma3.Gemma3MultiModalProjector, change)


def not_standardised() -> None:
    def change(model: Any) -> None:
        tower = getattr(model.model, "vision_tower", None)
        if tower is not None and hasattr(tower, "std_scale"):
            tower.std_scale.fill_(1)
            tower.std_bias.zero_()

    loaded(change)


def projector_not_normed() -> None:
    for kind in (gemma4.Gemma4MultimodalEmbedder, unified.Gemma4UnifiedMultimodalEmbedder):
        kind.forward = lambda self, inputs_embeds: self.embedding_projection(inputs_embeds)


def projector_norm_without_one() -> None:
    def change(projector: Any) -> None:
        norm = projector.mm_soft_emb_norm
        norm.forward = lambda x: norm._norm(x.float()) * norm.weight

    built(gemma3.Gemma3MultiModalProjector, change)


def features_of_the_next_token() -> None:
    right = torch.Tensor.masked_scatter

    def wrong(self: torch.Tensor, mask: torch.Tensor, source: torch.Tensor) -> torch.Tensor:
        return right(self, mask, source.flatten(0, -2).roll(1, 0))

    torch.Tensor.masked_scatter = wrong


def images_one_way() -> None:
    """Token types are lost, so that an image's tokens don't see those behind them."""

    def change(_: Any, batch: Any) -> Any:
        types = ("token_type_ids", "mm_token_type_ids")
        return {name: each * 0 if name in types else each for name, each in batch.items()}

    returned(PixelCollator, "__call__", change)


def images_both_ways_everywhere() -> None:
    """Gemma 3's mask in the full layers of the large Gemma 4."""
    right = gemma4.create_masks_for_vision_model

    def wrong(**kwargs: Any) -> Any:
        masks = right(**kwargs)
        return dict.fromkeys(masks, masks["sliding_attention"])

    gemma4.create_masks_for_vision_model = wrong
    unified.create_masks_for_vision_model = wrong
