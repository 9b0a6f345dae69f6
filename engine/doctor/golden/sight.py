"""Golden figures of a row with an image: its tokens, its pixels, and each module from there on.

An image is as large as its processor wants it, so that nothing is resized, and its pixels are the
doctor's own. Audio is read by no recipe, so that its towers have no figures.
"""

import math
import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

import torch
from PIL import Image

from engine.data.batches import alone
from engine.data.conversation import IMAGE, Turn
from engine.data.encoding.tokens import Encoder, Tokens, labels
from engine.data.images.image_tokenizer import ImageTokenizer, sight
from engine.doctor.check import AFTERWARDS, Measurement, check
from engine.doctor.golden import truth
from engine.doctor.golden.figures import fill_adapter, listening, spans_of, tensor_of
from engine.doctor.golden.seeded_weights import uniform
from engine.doctor.golden.seeing_models import KINDS
from engine.doctor.specimens import SEEING, Specimens, template_of
from engine.doctor.trial import RecordedStep, Trial
from engine.gemma.towers import MODULES
from engine.model.load import Loaded

_SIZES = {"gemma3": (56, 56)}
_SIZE = 528, 288
"""Width and height, of 66 of the 70 tokens that Gemma 4's smallest budget has."""
_AUDIO = ("audio_tower", "embed_audio")
_PIXELS = "pixels"
Figures = dict[str, Any]

_CAUSES: Mapping[str, str] = {
    "ids": "an image becomes other tokens, or another number of them",
    _PIXELS: "pixels are scaled, normalised or resized otherwise than the image processor's "
    "settings say, or patches and channels lie in another order",
    r"vision_tower\.(embeddings\.patch_embedding|patch_embedder\.input_proj)|.*\.patch_(ln1|dense)":
    "patches are embedded wrongly: their scale, their order or the weights",
    r"vision_tower\.(embeddings|patch_embedder)(\.position_embedding)?|.*\.pos_norm":
    "position embeddings are not added to the patches, or are other patches'",
    r"vision_tower\.encoder\.rotary_emb": "the tower's rotary embeddings turn by other angles",
    r"vision_tower\..*\.(o_proj|out_proj)":
    "attention in the vision tower is wrong: its mask, its scale, or how it is turned",
    r"vision_tower\..*\.(act_fn|activation_fn)": "the activation in the vision tower is another",
    r"vision_tower\..*_proj":
    "the tower's projections are not clipped to the bounds in the files, or are of other weights",
    "vision_tower": "what the tower gives is not standardised by its std_bias and std_scale",
    r".*\.(pooler|avg_pool)": "patches are pooled to an image's tokens wrongly",
    r"(multi_modal_projector|embed_vision).*":
    "the projector's norm is left out, or it multiplies by other weights than the files say",
    "layers.0.input_layernorm": "an image's features do not stand where its tokens are",
    r".*norm[12]?": "this norm multiplies by other weights than the files say, or is left out",
    r"layers\..*\.o_proj": "the mask is not that of images: their tokens see each other in both "
    "directions in Gemma 3 and in the sliding layers of the large Gemma 4, and nowhere else",
    "loss": "the loss of rows with images is not that of the model's logits",
}  # fmt: skip
"""By what moves first, a regular expression over names."""


def figures(specimens: Specimens, kind: str) -> Figures:
    """Of a step on one row: `ids`, `loss`, and the size and projection of what modules give."""
    gemma = specimens.gemma(f"{SEEING}{kind}", has_towers=True)
    look = _look(specimens, kind, gemma)
    row, recorded = _row(specimens, kind, gemma, look), RecordedStep()
    trial = Trial(gemma, [alone(row)], recorded, images=look)
    fill_adapter(trial.model, with_update=True)
    first = row.ids.index(look.image_token)
    span = slice(first, first + row.ids.count(look.image_token))
    with _stages(trial.model.get_base_model().model, len(row.ids), span) as stages:
        trial.train()
    return {"ids": row.ids, "stages": stages, "loss": recorded.losses[0]}


@check("golden figures of images", limit=truth.LIMIT, advice=AFTERWARDS, is_golden=True)
def golden_images(specimens: Specimens) -> Measurement:
    """A step on a row with an image, in float32, of each architecture that sees.

    The smallest effect of a planted bug is 0.1, where the tower's attention is causal. With and
    without AVX-512, processors differ by 1.2e-5.
    """
    off: dict[str, float] = {}
    for kind in KINDS:
        golden, own = truth.document()["seeing"][kind], figures(specimens, kind)
        if golden["ids"] != own["ids"]:
            off[f"ids ({kind})"] = math.inf
        moves = truth.moved_stages(golden["stages"], own["stages"])
        off |= {f"{move.name} ({kind})": move.error for move in moves}
        off[f"loss ({kind})"] = abs(own["loss"] - golden["loss"])
    wrong = [name for name, difference in off.items() if not difference <= truth.LIMIT]
    return Measurement(max(off.values()), _complaint(wrong[0]) if wrong else "")


def _complaint(name: str) -> str:
    return (
        f"In rows with images the first figure that differs is {name}: {_cause(name.split()[0])}. "
        "Do not train rows with images here; install the tested versions"
    )


def _cause(name: str) -> str:
    """What is known to move this figure first."""
    causes = (text for pattern, text in _CAUSES.items() if re.fullmatch(pattern, name))
    return next(causes, "its product is not that of the weights in the files")


def row_of(specimens: Specimens, kind: str) -> Tokens:
    """The row that a kind's figures are of."""
    gemma = specimens.gemma(f"{SEEING}{kind}")
    return _row(specimens, kind, gemma, _look(specimens, kind, gemma))


def _look(specimens: Specimens, kind: str, gemma: Loaded) -> ImageTokenizer:
    look = sight(specimens.choice(f"{SEEING}{kind}"), gemma.model.config, gemma.tokenizer)
    assert look is not None
    return look


def _row(specimens: Specimens, kind: str, gemma: Loaded, look: ImageTokenizer) -> Tokens:
    width, height = _SIZES.get(kind, _SIZE)
    file = specimens.folder / f"{width}x{height}.png"
    if not file.exists():
        numbers = uniform("image", (height, width, 3)) * torch.tensor([40, 80, 120]) + 128
        Image.fromarray(numbers.to(torch.uint8).numpy()).save(file)
    question = Turn("user", f"What is it?{IMAGE}Say it.", images=(str(file),))
    encoder = Encoder(gemma.tokenizer, template_of(gemma), look)
    ((ids, mask, *_),) = encoder.encode([(question, Turn("assistant", "Two pears and a fig."))])
    return Tokens(ids, labels(ids, mask, encoder.turn_start, "last"), False, (str(file),))


@contextmanager
def _stages(model: Any, length: int, image: slice) -> Iterator[dict[str, list[list[float]]]]:
    """Fill a dictionary with what modules give.

    Of the decoder's before the image, of its tokens, and behind it.
    """
    stages: dict[str, list[list[float]]] = {}

    def whole(tensor: object) -> list[list[float]]:
        return spans_of(tensor_of(tensor).reshape(1, -1), 1, [1])

    def hear(name: str, args: object, kwargs: object, output: object) -> None:
        is_decoders = name.startswith("layers")
        ends = image.start, image.stop, length
        stages[name] = spans_of(output, length, ends) if is_decoders else whole(output)

    def look(module: Any, args: Any, kwargs: Any) -> None:
        stages[_PIXELS] = whole(kwargs["pixel_values"])

    towers = tuple(name for name in MODULES if name not in _AUDIO)
    modules = {
        name: each for name, each in model.named_modules()
        if name.startswith(towers) and not name.endswith(("layers", "encoder", ".linear"))
    } | {
        name: each for name, each in model.language_model.named_modules()
        if name == "layers.0.input_layernorm" or name.endswith(".o_proj")
    }  # fmt: skip
    looking = model.register_forward_pre_hook(look, with_kwargs=True)
    with listening(modules, hear):
        yield stages
    looking.remove()
