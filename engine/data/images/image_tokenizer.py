"""How a model sees images: what stands for one among its tokens, and how many tokens it takes.

Gemma 3 gives every image the same number of soft tokens; Gemma 4 scales it by its aspect to as many
as its image processor's budget allows (processing_gemma3.py and processing_gemma4.py of
transformers 5.23, which need torchvision where this does not).
"""

from collections.abc import Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Any

from engine.data.conversation import Conversation, UnusableRow
from engine.data.encoding.tokenizer import Tokenizer, folder_or_id
from engine.problems import Refusal
from engine.recipe.schema import Model

FILES = "image_files"
"""What a sequence calls its images; TRL takes a column named images for its own."""
LOOK = "images"
"""What a batch calls its pixels while they are under way."""
SETTINGS = ("preprocessor_config.json", "processor_config.json")
"""Files of a model that may hold its image processor's settings."""


@dataclass(frozen=True, slots=True)
class ImageTokenizer:
    """One model's way with images; its image processor is loaded when the first image is met."""

    source: str
    revision: str | None
    kind: str
    """gemma3, gemma4 or gemma4_unified."""
    image_token: int
    """What is repeated once per soft token."""
    frame: frozenset[int]
    """Tokens that stand for images: begin, soft token, end. None of them is ever supervised."""
    mark: str
    """What a template writes where an image stands."""
    written: str
    """The text that is encoded there, with the soft token in it once."""
    fixed_tokens: int
    """Soft tokens of every image; 0 where they depend on its size."""

    def soft_tokens(self, path: str) -> int:
        """Soft tokens of an image, from the size in its file's head.

        An image on its side takes as many.
        """
        if self.fixed_tokens:
            return self.fixed_tokens
        # Runs on text alone need neither.
        from transformers.models.gemma4.image_processing_pil_gemma4 import (
            get_aspect_ratio_preserving_size,
        )

        from engine.data.images import image_file

        processor = self.processor()
        patch, pooled = processor.patch_size, processor.pooling_kernel_size**2
        width, height = image_file.size(path)
        sides = get_aspect_ratio_preserving_size(
            height, width, patch, processor.max_soft_tokens * pooled, processor.pooling_kernel_size
        )
        return int(sides[0] // patch * (sides[1] // patch) // pooled)

    def processor(self) -> Any:
        """transformers' image processor with the model's settings. Raises `Refusal`."""
        return _processor(self.kind, self.source, self.revision)

    def check(self, turns: Conversation) -> None:
        """Decode every image of a conversation. Raises `UnusableRow` where one can't be seen."""
        from engine.data.images import image_file

        for turn in turns:
            if turn.images and turn.role != "user":
                raise UnusableRow(f"an image in a turn of the {turn.role}")
            for path in turn.images:
                image_file.check(path)

    def expanded(
        self, ids: list[int], mask: list[int], images: Sequence[str]
    ) -> tuple[list[int], list[int]]:
        """Ids and mask with each image's token repeated as often as it has soft tokens.

        Raises `Refusal` where the template wrote another number of images than there are.
        """
        if ids.count(self.image_token) != len(images):
            fix = 'Set data.template to "engine"'
            raise Refusal.of(
                "data.template", "the model's own template has no place for images", fix
            )
        counts = map(self.soft_tokens, images)
        times = [next(counts) if token == self.image_token else 1 for token in ids]
        return _repeated(ids, times), _repeated(mask, times)


def sight(choice: Model, config: Any, tokenizer: Tokenizer) -> ImageTokenizer | None:
    """How the model of a recipe sees; None where it has no vision tower."""
    if getattr(config, "vision_config", None) is None:
        return None
    frame = config.boi_token_id, config.image_token_id, config.eoi_token_id
    begin, soft, end = tokenizer.convert_ids_to_tokens(list(frame))
    written = f"{begin}{soft}{end}"
    is_gemma3 = config.model_type == "gemma3"
    return ImageTokenizer(
        source=folder_or_id(choice),
        revision=choice.revision,
        kind=config.model_type,
        image_token=config.image_token_id,
        frame=frozenset(frame),
        mark=begin if is_gemma3 else soft,
        written=f"\n\n{written}\n\n" if is_gemma3 else written,
        fixed_tokens=config.mm_tokens_per_image if is_gemma3 else 0,
    )


@lru_cache(maxsize=4)
def _processor(kind: str, source: str, revision: str | None) -> Any:
    from transformers.models.gemma3.image_processing_pil_gemma3 import Gemma3ImageProcessorPil
    from transformers.models.gemma4.image_processing_pil_gemma4 import Gemma4ImageProcessorPil

    processor_class = Gemma3ImageProcessorPil if kind == "gemma3" else Gemma4ImageProcessorPil
    try:
        processor = processor_class.from_pretrained(source, revision=revision)
    except OSError:
        reason = "there are rows with images, and the model has no preprocessor_config.json"
        fix = "Put it beside config.json, as in the model's folder on the hub"
        raise Refusal.of("model.path", reason, fix) from None
    if kind == "gemma4_unified":
        # Its patches are Gemma 4's before pooling, put together to squares of the pooled size;
        # transformers' own processor does the same through torchvision.
        processor.patch_size *= processor.pooling_kernel_size
        processor.pooling_kernel_size = 1
    return processor


def _repeated(values: list[int], times: list[int]) -> list[int]:
    return [value for value, count in zip(values, times, strict=True) for _ in range(count)]
