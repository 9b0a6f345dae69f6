"""Rows with real JPEGs: expanded once, never supervised, seen by the model, towers left alone."""

import json
import os
from collections.abc import Callable
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from PIL import ExifTags, Image

from engine.data.batches import Collator, apart
from engine.data.encoding.template import template
from engine.data.encoding.tokens import IGNORED
from engine.data.images import image_file
from engine.data.images.image_tokenizer import FILES, LOOK, ImageTokenizer, sight
from engine.data.images.pixel_collator import PixelCollator
from engine.data.prepare import Prepared, prepare
from engine.data.preview_rows import excerpt
from engine.doctor.golden import seeing_models as seers
from engine.doctor.trial import difference
from engine.gemma.config import dialect_of
from engine.problems import Refusal
from engine.recipe.schema import Data, Model, Source
from tests import tiny

SIZES = {"wide.jpg": (150, 60), "tall.jpg": (50, 160), "square.jpg": (90, 90)}
Talk = tuple[str, str]


@dataclass
class Seer:
    """A tiny Gemma that sees."""

    gemma: tiny.Loaded
    sight: ImageTokenizer

    def prepared(self, path: Path, **settings: Any) -> Prepared:
        """The rows of a file as the model gets them."""
        data = Data(sources=(Source(path=str(path)),), **settings)
        chosen = template(dialect_of(self.gemma.model.config.to_dict()))
        return prepare(data, self.gemma.tokenizer, chosen, sight=self.sight)

    def collated(self, prepared: Prepared) -> dict[str, torch.Tensor]:
        """All rows as one batch."""
        rows = [
            {"input_ids": s.input_ids, "labels": s.labels, "position_ids": s.position_ids,
             FILES: list(s.images)}
            for s in apart(prepared.rows)
        ]  # fmt: skip
        collator = Collator(self.gemma.tokenizer.pad_token_id)
        batch = PixelCollator(collator, self.sight)(rows)
        return {**batch, **batch.pop(LOOK).on(torch.device("cpu"))}


@pytest.fixture(scope="module")
def seer(tmp_path_factory: pytest.TempPathFactory) -> Callable[[str], Seer]:
    folder = tmp_path_factory.mktemp("seers")

    @cache
    def built(kind: str) -> Path:
        return seers.build(kind, folder / kind)

    def loaded(kind: str) -> Seer:
        gemma = tiny.loaded(built(kind), has_towers=True)
        found = sight(Model(path=str(built(kind))), gemma.model.config, gemma.tokenizer)
        assert found
        return Seer(gemma, found)

    return loaded


@pytest.fixture
def photos(tmp_path: Path) -> Path:
    """A folder with JPEGs of three shapes."""
    noise = np.random.default_rng(0)
    for name, (width, height) in SIZES.items():
        pixels = noise.integers(0, 255, (height, width, 3), np.uint8)
        Image.fromarray(pixels).save(tmp_path / name, quality=90)
    return tmp_path


def row(*talks: Talk, images: tuple[str, ...] = ()) -> dict[str, Any]:
    said = [
        {"role": role, "content": text}
        for talk in talks
        for role, text in zip(("user", "assistant"), talk, strict=True)
    ]
    return {"messages": said, "images": list(images)} if images else {"messages": said}


TWO = row(
    ("<image>\nWho?", "She."), ("And where?<image>", "There."), images=("wide.jpg", "tall.jpg")
)
PARTS = {
    "messages": [
        {"role": "user", "content": [
            {"type": "image", "path": "square.jpg"}, {"type": "image", "image": "wide.jpg"},
            {"type": "text", "text": "What happens?"},
        ]},
        {"role": "assistant", "content": [{"type": "text", "text": "A goal."}]},
    ]
}  # fmt: skip
NONE = row(("Nothing to see?", "Nothing <|image|> at all, <start_of_image> no."))
FOUR = ("wide.jpg", "tall.jpg", "square.jpg", "wide.jpg")
FRAMES = row(("<image>" * 4 + "\nWhich action?", "Juggling."), images=FOUR)
LLAVA = {
    "conversations": [
        {"from": "human", "value": "<image><image><image><image>\nWhich action?"},
        {"from": "gpt", "value": "Juggling."},
    ],
    "images": list(FOUR),
}


def written(folder: Path, *rows: object) -> Path:
    path = folder / "rows.jsonl"
    path.write_text("".join(json.dumps(one) + "\n" for one in rows))
    return path


@pytest.mark.parametrize("kind", seers.KINDS)
@pytest.mark.parametrize("loss_on", ["assistant", "all"])
def test_an_image_is_expanded_once_and_never_supervised(
    kind: str, loss_on: str, seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer(kind)
    prepared = made.prepared(written(photos, TWO, PARTS, NONE), loss_on=loss_on)
    assert [tuple(Path(i).name for i in one.images) for one in prepared.rows] == [
        ("wide.jpg", "tall.jpg"), ("square.jpg", "wide.jpg"), (),
    ]  # fmt: skip
    config = made.gemma.model.config
    for one in prepared.rows:
        expected = sum(map(made.sight.soft_tokens, one.images))
        assert one.ids.count(config.image_token_id) == expected
        assert one.ids.count(config.boi_token_id) == len(one.images)
        assert one.ids.count(config.eoi_token_id) == len(one.images)
        carried = {label for label in one.labels if label != IGNORED}
        assert carried
        assert not carried & made.sight.frame


def test_the_ways_to_write_frames_are_one(seer: Callable[[str], Seer], photos: Path) -> None:
    made = seer("gemma4")
    parts = [{"type": "image", "image": name} for name in FOUR]
    asked = [*parts, {"type": "text", "text": "Which action?"}]
    said = [{"role": "user", "content": asked}, {"role": "assistant", "content": "Juggling."}]
    found = []
    for number, one in enumerate((FRAMES, LLAVA, {"messages": said})):
        path = photos / f"{number}.json"
        path.write_text(json.dumps([one], indent=1))
        found.append(made.prepared(path, max_length=1024).rows[0])
    assert found[0] == found[1] == found[2]
    assert found[0].images == tuple(str(photos / name) for name in FOUR)


def test_text_around_images_is_the_templates(seer: Callable[[str], Seer], photos: Path) -> None:
    made = seer("gemma4")
    first, second = (made.sight.soft_tokens(str(photos / n)) for n in ("wide.jpg", "tall.jpg"))
    (only,) = made.prepared(written(photos, TWO)).rows
    assert made.gemma.tokenizer.decode(only.ids) == (
        f"<bos><|turn>user\n<|image>{'<|image|>' * first}<image|>Who?<turn|>\n"
        "<|turn>model\nShe.<turn|>\n"
        f"<|turn>user\nAnd where?<|image>{'<|image|>' * second}<image|><turn|>\n"
        "<|turn>model\nThere.<turn|>\n"
    )
    assert 56 < first <= seers.SOFT_TOKENS
    said = [label for label in only.labels if label != IGNORED]
    assert made.gemma.tokenizer.decode(said) == "She.<turn|>\nThere.<turn|>\n"


@pytest.mark.parametrize("kind", ["gemma4", "gemma4_unified"])
def test_soft_tokens_are_as_many_as_the_image_processor_makes(
    kind: str, seer: Callable[[str], Seer], photos: Path
) -> None:
    look = seer(kind).sight
    lying = Image.new("RGB", (160, 50))
    turned = lying.getexif()
    turned[ExifTags.Base.Orientation] = 6
    lying.save(photos / "turned.jpg", exif=turned)
    for name in (*SIZES, "turned.jpg"):
        found = look.processor()(images=[image_file.read(str(photos / name))], return_tensors="pt")
        assert look.soft_tokens(str(photos / name)) == int(found["num_soft_tokens_per_image"]), name


def test_gemma3_gets_what_its_own_processor_makes(
    seer: Callable[[str], Seer], photos: Path
) -> None:
    from transformers.models.gemma3.processing_gemma3 import Gemma3Processor

    made = seer("gemma3")
    tokenizer = made.gemma.tokenizer
    tokenizer.image_token = "<image_soft_token>"
    tokenizer.image_token_id = made.sight.image_token
    processor = Gemma3Processor(made.sight.processor(), tokenizer, image_seq_length=4)
    prepared = made.prepared(written(photos, TWO))
    text = (
        "<bos><start_of_turn>user\n<start_of_image>Who?<end_of_turn>\n"
        "<start_of_turn>model\nShe.<end_of_turn>\n"
        "<start_of_turn>user\nAnd where?<start_of_image><end_of_turn>\n"
        "<start_of_turn>model\nThere.<end_of_turn>\n"
    )
    images = [Image.open(photos / name) for name in ("wide.jpg", "tall.jpg")]
    theirs = processor(images=images, text=text, add_special_tokens=False, return_tensors="pt")
    ours = made.collated(prepared)
    for name in ("input_ids", "token_type_ids", "pixel_values"):
        assert torch.equal(ours[name], theirs[name]), name


@pytest.mark.parametrize("kind", seers.KINDS)
def test_training_sees_images_and_leaves_towers_alone(
    kind: str, seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer(kind)
    prepared = made.prepared(written(photos, TWO, NONE, FRAMES, PARTS), max_length=1024)
    assert not prepared.dropped
    before = {name: value.clone() for name, value in made.gemma.model.named_parameters()}
    told = tiny.Gradients()
    built = tiny.trainer(
        made.gemma, told, sequences=apart(prepared.rows), images=made.sight,
        max_steps=8, learning_rate=1e-2, per_device_train_batch_size=2,
        gradient_checkpointing=True, lr_scheduler_type="constant",
    )  # fmt: skip
    built.train()
    assert all(np.isfinite(told.losses))
    assert sum(told.losses[-2:]) < 0.96 * sum(told.losses[:2])
    assert told.gradients
    assert all("language_model" in name and "lora_" in name for name in told.gradients)
    after = dict(built.model.get_base_model().named_parameters())
    for name, value in before.items():
        there = after.get(name, after.get(name.replace(".weight", ".base_layer.weight")))
        assert there is not None
        assert torch.equal(there, value), name


@pytest.mark.parametrize("kind", seers.KINDS)
def test_padding_beside_images_may_count_on(
    kind: str, seer: Callable[[str], Seer], photos: Path
) -> None:
    found = []
    for counts_on in (True, False):
        made = seer(kind)
        prepared = made.prepared(written(photos, TWO, NONE, PARTS), max_length=1024)
        told = tiny.Gradients()
        tiny.trainer(
            replace(made.gemma, counts_on=counts_on), told, sequences=apart(prepared.rows),
            images=made.sight, per_device_train_batch_size=3,
        ).train()  # fmt: skip
        found.append(told)
    assert found[0].losses == pytest.approx(found[1].losses, rel=1e-6)
    assert difference(found[1], found[0]) < 1e-5


def test_nothing_of_a_tower_is_kept_for_the_backward_pass(
    seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer("gemma3")
    prepared = made.prepared(written(photos, TWO))
    built = tiny.trainer(
        made.gemma, tiny.Gradients(), sequences=apart(prepared.rows), images=made.sight,
        gradient_checkpointing=True,
    )  # fmt: skip
    seen: list[bool] = []
    tower = built.model.get_base_model().model.vision_tower
    tower.register_forward_hook(lambda *given: seen.append(given[2][0].requires_grad))
    built.train()
    assert seen == [False]


BOTH_WAYS = {"gemma3": True, "gemma4": False, "gemma4_large": True, "gemma4_unified": True}


@pytest.mark.parametrize("kind", seers.KINDS)
def test_tokens_of_an_image_see_each_other_where_the_model_was_made_so(
    kind: str, seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer(kind)
    batch = made.collated(made.prepared(written(photos, PARTS, NONE)))
    inner = made.gemma.model.model
    soft = (batch["input_ids"][0] == made.sight.image_token).nonzero().flatten()
    count = made.sight.soft_tokens(str(photos / "square.jpg"))
    first, last, other = int(soft[0]), int(soft[count - 1]), int(soft[count])
    pixels = {
        name: batch.pop(name) for name in ("pixel_values", "image_position_ids") if name in batch
    }
    batch.pop("labels")

    def hidden(change: float) -> torch.Tensor:
        found = inner.get_image_features(**pixels, return_dict=True)
        features = found.pooler_output
        features[0][count - 1] += change
        with torch.no_grad():
            return inner(**batch, mm_encoder_outputs={"image": found}, use_cache=False)[0]

    with torch.no_grad():
        difference = (hidden(1.0) - hidden(0.0)).abs().amax(-1)
    assert bool(difference[0, first] > 1e-4) is BOTH_WAYS[kind]
    assert difference[0, last] > 1e-4
    assert difference[0, other] > 1e-4
    assert difference[0, :first].max() < 1e-6
    assert difference[1].max() < 1e-6


def test_images_that_cannot_be_seen_drop_their_rows(
    seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer("gemma4")
    whole = (photos / "wide.jpg").read_bytes()
    (photos / "torn.jpg").write_bytes(whole[: len(whole) // 2])
    (photos / "words.jpg").write_text("no image")
    os.mkfifo(photos / "pipe.jpg")
    asked = [row(("<image>", "So."), images=(name,)) for name in (
        "wide.jpg", "gone.jpg", "torn.jpg", "words.jpg", "pipe.jpg"
    )]  # fmt: skip
    painted = row(("Paint.", "<image>"), images=("wide.jpg",))
    result = made.prepared(written(photos, *asked, painted))
    assert len(result.rows) == 1
    assert result.dropped == {
        "an image file that is not there": 2,
        "an image file that can't be read": 2,
        "an image in a turn of the assistant": 1,
    }


def test_an_image_is_kept_whole_or_not_at_all(seer: Callable[[str], Seer], photos: Path) -> None:
    made = seer("gemma4")
    path = written(photos, TWO)
    (whole,) = made.prepared(path).rows
    soft = [i for i, token in enumerate(whole.ids) if token == made.sight.image_token]
    first = made.sight.soft_tokens(str(photos / "wide.jpg"))
    with pytest.raises(Refusal, match=r"1 x an image that data\.max_length would cut in two"):
        made.prepared(path, max_length=soft[first] + 3)
    (cut,) = made.prepared(path, max_length=soft[first] - 2).rows
    assert [Path(image).name for image in cut.images] == ["wide.jpg"]
    assert cut.ids.count(made.sight.image_token) == first


def test_rows_are_made_anew_when_an_image_comes_or_changes(
    seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer("gemma4")
    path = written(photos, row(("<image>", "So."), images=("new.jpg",)), NONE)
    chosen = template("gemma4")
    data = Data(sources=(Source(path=str(path)),))

    def again() -> Prepared:
        return prepare(data, made.gemma.tokenizer, chosen, photos / "cache", sight=made.sight)

    assert again().dropped == {"an image file that is not there": 1}
    Image.new("RGB", (90, 90)).save(photos / "new.jpg")
    square = again()
    assert not square.dropped
    Image.new("RGB", (300, 60)).save(photos / "new.jpg")
    wide = again()
    assert len(wide.rows[0].ids) != len(square.rows[0].ids)
    assert wide.fingerprint != square.fingerprint


def test_a_model_without_an_image_processor_says_so(
    seer: Callable[[str], Seer], photos: Path
) -> None:
    made = seer("gemma4")
    blind = Model(path=str(photos))
    made.sight = sight(blind, made.gemma.model.config, made.gemma.tokenizer)  # type: ignore[assignment]
    assert made.prepared(written(photos, NONE)).tokens
    with pytest.raises(Refusal, match=r"the model has no preprocessor_config\.json"):
        made.prepared(written(photos, TWO))


def test_a_preview_shows_an_image_as_one_span(seer: Callable[[str], Seer], photos: Path) -> None:
    made = seer("gemma4")
    prepared = made.prepared(written(photos, TWO))
    shown = excerpt(made.gemma.tokenizer, template("gemma4"), made.sight).row(prepared, 0)
    spans = {span.text: span for span in shown.spans}
    first = made.sight.soft_tokens(str(photos / "wide.jpg"))
    assert (spans["[image 1]"].tokens, spans["[image 1]"].is_supervised) == (first, False)
    assert "[image 2]" in spans
    assert shown.is_prompt_a_prefix
    assert shown.whole_tokens == len(shown.input_ids)
    assert "[image 1]" in [span.text for span in shown.prompt]
