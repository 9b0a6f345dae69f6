"""Images that rows hold as bytes or as data: URIs are seen like those in files of their own."""

import base64
import io
import json
from pathlib import Path

import numpy as np
import pytest
from datasets import Dataset, Features, Image, List, Value
from PIL import Image as Picture

from engine.doctor.golden import seeing_models as seers
from tests import command

MESSAGE = {"role": Value("string"), "content": Value("string")}
SAID = [
    {"role": "user", "content": "<image>Which colour?"},
    {"role": "assistant", "content": "Green."},
]


def png(seed: int) -> bytes:
    pixels = np.random.default_rng(seed).integers(0, 255, (20, 30, 3), np.uint8)
    file = io.BytesIO()
    Picture.fromarray(pixels).save(file, "PNG")
    return file.getvalue()


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return seers.build("gemma3", tmp_path_factory.mktemp("seer") / "gemma3")


def uri(content: bytes) -> str:
    return f"data:image/png;base64,{base64.b64encode(content).decode()}"


def parts(url: str) -> dict[str, object]:
    """A row as it is written for fine-tuning by OpenAI."""
    asked = [
        {"type": "image_url", "image_url": {"url": url}},
        {"type": "text", "text": "Which colour?"},
    ]
    return {"messages": [{"role": "user", "content": asked}, SAID[1]]}


def contents(content: bytes) -> dict[str, object]:
    """The same row as Google writes it."""
    inline = {"mimeType": "image/png", "data": base64.b64encode(content).decode()}
    asked = [{"inlineData": inline}, {"text": "Which colour?"}]
    answer = {"role": "model", "parts": [{"text": SAID[1]["content"]}]}
    return {"contents": [{"role": "user", "parts": asked}, answer]}


def test_images_of_any_kind_are_seen_and_never_trained_on(tmp_path: Path, model: Path) -> None:
    images = [png(0), png(1)]
    for number, content in enumerate(images):
        (tmp_path / f"{number}.png").write_bytes(content)
    files = [parts(f"{number}.png") for number in (0, 1)]
    uris = [parts(uri(content)) for content in images]
    lists = [{"messages": SAID, "images": [uri(content)]} for content in images]
    google = [contents(content) for content in images]
    listed = {"files": files, "uris": uris, "lists": lists, "google": google}
    for name, rows in listed.items():
        text = "".join(json.dumps(row) + "\n" for row in rows)
        (tmp_path / f"{name}.jsonl").write_text(text)
    tables = Features({"messages": List(MESSAGE), "images": List(Image())})
    rows = [{"messages": SAID, "images": [{"bytes": c, "path": "a.png"}]} for c in images]
    Dataset.from_list(rows, features=tables).to_parquet(tmp_path / "bytes.parquet")
    column = [{"messages": SAID, "image": content} for content in images]
    features = Features({"messages": List(MESSAGE), "image": Value("binary")})
    Dataset.from_list(column, features=features).to_parquet(tmp_path / "plain.parquet")
    found = {}
    for name in (
        "files.jsonl",
        "uris.jsonl",
        "google.jsonl",
        "lists.jsonl",
        "bytes.parquet",
        "plain.parquet",
    ):
        code, out, err = command.call(
            tmp_path, "preview", "quickstart", "--json", "--set", f"model.path={model}",
            "--set", f"data.sources=[{{path='{name}'}}]",
        )  # fmt: skip
        assert (code, err) == (0, "")
        (source,) = json.loads(out)["sources"]
        assert (source["taken"], source["dropped"]) == (2, {}), name
        found[name] = [(row["input_ids"], row["labels"]) for row in json.loads(out)["rows"]]
    first, labels = found["files.jsonl"][0]
    config = json.loads((model / "config.json").read_text())
    soft = config["image_token_id"] if "image_token_id" in config else config["image_token_index"]
    assert first.count(soft) == config["mm_tokens_per_image"]
    assert all(label == -100 for id_, label in zip(first, labels, strict=True) if id_ == soft)
    assert any(label != -100 for label in labels)
    assert found["google.jsonl"] == found["uris.jsonl"] == found["files.jsonl"]
    assert found["lists.jsonl"] == found["bytes.parquet"] == found["plain.parquet"]


def test_a_run_reads_pixels_of_images_that_rows_held(tmp_path: Path, model: Path) -> None:
    rows = [parts(uri(png(seed))) for seed in range(4)]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))
    code, _, err = command.call(
        tmp_path, "--run", "quickstart", *command.SHORT, "--set", f"model.path={model}",
        "--set", "training.max_steps=1", "--set", f"data.sources=[{{path='{path}'}}]",
    )  # fmt: skip
    assert (code, err) == (0, "")


def test_a_uri_that_is_no_image_drops_its_row(tmp_path: Path, model: Path) -> None:
    bad = ["data:image/png;base64,%%%", "data:image/svg+xml,<svg/>", uri(b"no image")]
    path = tmp_path / "rows.jsonl"
    path.write_text("".join(json.dumps(parts(one)) + "\n" for one in (uri(png(0)), *bad)))
    code, out, err = command.call(
        tmp_path, "preview", "quickstart", "--json", "--set", f"model.path={model}",
        "--set", f"data.sources=[{{path='{path}'}}]",
    )  # fmt: skip
    assert (code, err) == (0, "")
    (source,) = json.loads(out)["sources"]
    assert source["dropped"] == {
        "an image whose data: URI can't be read": 2,
        "an image file that can't be read": 1,
    }
