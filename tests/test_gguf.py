"""A Gemma in a GGUF file becomes the model that it was made of, as its number format has it."""

import importlib
import itertools
import json
import shutil
import tracemalloc
from collections.abc import Callable, Container, Iterator
from pathlib import Path

import numpy as np
import pytest
import torch
from safetensors.torch import load_file

from engine.data.encoding.tokenizer import tokenizer
from engine.gemma import catalog, terms
from engine.gemma.gguf import checkpoint, files, model
from engine.gemma.gguf.tensor_types import TENSOR_TYPES
from engine.model.load import Loaded
from engine.recipe.schema import Model
from tests import tiny

gguf = pytest.importorskip("gguf", reason="this environment is older than pyproject.toml")
written_gguf = importlib.import_module("tests.written_gguf")
GEMMAS = ("embedded", "gemma3", "gemma4_moe", "gemma4_multimodal", "gemma4_large")
IDS = torch.tensor([[2, *range(300, 400), 105, 17, 106, *range(1000, 1060)]])
"""Longer than the sliding windows."""
TEXTS = (
    "Hello, world!", "  two   spaces\t\ttabs\n\n\nlines \r\n", "def f(x):\n    return x ** 2",
    "Ελληνικά", "Русский текст", "עברית", "العربية", "हिन्दी", "ไทย", "ქართული", "日本語の文",
    "한국어 문장입니다.", "አማርኛ", "𓀀 \N{CHESTNUT} \N{WOMAN}\u200d\N{GIRL}", "\u2581 literal",
    "<bos><eos><unused3>", "\x00\u200d", "",
)  # fmt: skip


@pytest.fixture(autouse=True)
def its_own_cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Where the terms are agreed to, and nothing was read before."""
    monkeypatch.setenv("GEMMA_BENCH_CACHE", str(tmp_path / "cache"))
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    terms.agree()
    return tmp_path / "cache"


@pytest.fixture(scope="module")
def written(
    gemma_folder: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory
) -> Callable[..., Path]:
    """A tiny Gemma as GGUF, by kind and number format, written once."""
    folder, made = tmp_path_factory.mktemp("gguf"), dict[tuple[str, str], Path]()

    def file(kind: str, number_format: str = "F32") -> Path:
        if (kind, number_format) not in made:
            path = folder / f"{kind}-{number_format}.gguf"
            quantise = QUANTISERS.get(number_format)
            made[kind, number_format] = written_gguf.write(
                gemma_folder(kind), path, number_format, quantise=quantise
            )
        return made[kind, number_format]

    return file


def logits(gemma: Loaded) -> torch.Tensor:
    with torch.no_grad():
        return gemma.model(input_ids=IDS).logits[0]


@pytest.mark.parametrize("kind", GEMMAS)
def test_in_32_bits_it_is_the_same_model(
    kind: str, gemma_folder: Callable[[str], Path], written: Callable[..., Path]
) -> None:
    source, read = tiny.loaded(gemma_folder(kind)), tiny.loaded(written(kind))
    # One was added to Gemma 3's norms, whose last bits that takes.
    assert (logits(read) - logits(source)).abs().max() <= (2e-5 if kind == "gemma3" else 0)
    assert getattr(read.model.config, "quantization_config", None) is None
    assert read.model.generation_config.eos_token_id == source.model.generation_config.eos_token_id
    here, there = (catalog.variant_of(str(p)) for p in (written(kind), gemma_folder(kind)))
    assert (here.layers, here.dialect, here.experts) == (there.layers, there.dialect, there.experts)
    assert (here.per_layer_width, here.vocab_size) == (there.per_layer_width, there.vocab_size)


@pytest.mark.parametrize("kind", ["gemma3", "embedded"])
def test_its_tokenizer_is_that_of_the_source(
    kind: str, gemma_folder: Callable[[str], Path], written: Callable[..., Path]
) -> None:
    source, read = (tokenizer(Model(path=str(p))) for p in (gemma_folder(kind), written(kind)))
    for text in TEXTS:
        assert read(text).input_ids == source(text).input_ids, text
        ids = source(text, add_special_tokens=False).input_ids
        for skips in (True, False):
            texts = [each.decode(ids, skip_special_tokens=skips) for each in (read, source)]
            assert texts[0] == texts[1]
    assert read.get_vocab() == source.get_vocab()
    assert read.chat_template == source.chat_template
    talk = [{"role": "user", "content": "Hi"}]
    assert read.apply_chat_template(talk) == source.apply_chat_template(talk)
    assert (read.bos_token_id, read.eos_token_id, read.pad_token_id) == (2, 1, 0)


def q6_k(values: np.ndarray) -> np.ndarray:
    """Blocks of 256 in 6 bits: 16 scales of 8 bits below one of 16 (ggml-common.h, block_q6_K)."""
    blocks = values.reshape(-1, 16, 16)
    scales = np.abs(blocks).max(-1) / 31 + 1e-12
    d = (scales.max(-1, keepdims=True) / 127).astype(np.float16)
    small = np.clip(np.round(scales / d.astype(np.float32)), 1, 127).astype(np.int8)
    step = small[..., None] * d[..., None].astype(np.float32)
    q = (np.clip(np.round(blocks / step), -32, 31) + 32).astype(np.uint8).reshape(-1, 2, 4, 32)
    low = np.stack([q[:, :, n] & 15 | (q[:, :, n + 2] & 15) << 4 for n in (0, 1)], 2)
    high = sum((q[:, :, n] >> 4) << 2 * n for n in range(4))
    parts = (low.reshape(-1, 128), high.reshape(-1, 64), small.view(np.uint8), d.view(np.uint8))
    return _packed(values, parts)


def q4_k(values: np.ndarray) -> np.ndarray:
    """Blocks of 256 in 4 bits: 8 scales and 8 minima of 6 bits (ggml-common.h, block_q4_K)."""
    blocks = values.reshape(-1, 8, 32)
    least = np.minimum(blocks.min(-1), 0)
    scales = (blocks.max(-1) - least) / 15 + 1e-12
    d, dmin = (
        (each.max(-1, keepdims=True) / 63 + 1e-7).astype(np.float16) for each in (scales, -least)
    )
    small, offset = (
        np.clip(np.round(each / by.astype(np.float32)), 0, 63).astype(np.uint8)
        for each, by in ((scales, d), (-least, dmin))
    )
    step = np.maximum(small * d.astype(np.float32), 1e-12)[..., None]
    minimum = (offset * dmin.astype(np.float32))[..., None]
    q = np.clip(np.round((blocks + minimum) / step), 0, 15).astype(np.uint8).reshape(-1, 4, 2, 32)
    packed = np.concatenate([
        small[:, :4] | (small[:, 4:] >> 4) << 6, offset[:, :4] | (offset[:, 4:] >> 4) << 6,
        small[:, 4:] & 15 | (offset[:, 4:] & 15) << 4,
    ], -1)  # fmt: skip
    nibbles = (q[:, :, 0] | q[:, :, 1] << 4).reshape(-1, 128)
    return _packed(values, (d.view(np.uint8), dmin.view(np.uint8), packed, nibbles))


def _packed(values: np.ndarray, parts: tuple[np.ndarray, ...]) -> np.ndarray:
    rows = np.concatenate(parts, -1)
    return rows.reshape(*values.shape[:-1], -1)


QUANTISERS = {"Q6_K": q6_k, "Q4_K": q4_k}
LOSSES = {
    "F16": (1, 2**-11), "BF16": (1, 2**-9), "Q8_0": (32, 0.75 / 127), "Q4_0": (32, 1.05 / 8),
    "Q6_K": (16, 0.6 / 31), "Q4_K": (32, 1.2 / 15),
}  # fmt: skip
"""Values that share a scale, and by how much of the largest of them one is changed at most: half a
step and what rounding the scale adds; of Q4_0 a whole one, since it has no +8 beside its -8."""


@pytest.mark.parametrize("number_format", LOSSES)
def test_what_is_lost_is_what_its_number_format_loses(
    number_format: str, gemma_folder: Callable[[str], Path], written: Callable[..., Path]
) -> None:
    file = written("embedded", number_format)
    stored = load_file(checkpoint.with_weights(str(file)) / checkpoint.WEIGHTS)
    source = tiny.loaded(gemma_folder("embedded"))
    share, loss = LOSSES[number_format]
    quantised = 0
    for name, exact in source.model.state_dict().items():
        if name == "lm_head.weight":
            continue
        values, read = exact.float(), stored[name].float()
        rows = gguf.GGML_QUANT_SIZES[gguf.GGMLQuantizationType[number_format]][0]
        if values.ndim < 2 or values.shape[-1] % rows:
            assert torch.equal(values, read), name
            continue
        quantised += 1
        largest = values.reshape(-1, share).abs().amax(-1, keepdim=True)
        # What was quantised is rounded to bfloat16 too.
        bound = largest * (loss + (2**-9 if "Q" in number_format else 0)) + 1e-6
        assert ((values - read).reshape(-1, share).abs() <= bound).all(), name
    assert quantised > (5 if "_K" in number_format else 40)
    difference = logits(tiny.loaded(file)) - logits(source)
    assert difference.std() / logits(source).std() < 8 * loss
    assert bool(model.loss_of(str(file))) == ("Q" in number_format)


def test_the_table_of_number_formats_is_ggml_s() -> None:
    for number, kind in TENSOR_TYPES.items():
        theirs = gguf.GGMLQuantizationType(number)
        assert (kind.name, gguf.GGML_QUANT_SIZES[theirs]) == (
            theirs.name, (kind.block, kind.block_bytes),
        )  # fmt: skip
        if kind.is_read:
            row = np.zeros((1, 256 // kind.block * kind.block_bytes), np.uint8)
            assert gguf.quants.dequantize(row, theirs).shape == (1, 256)


@pytest.fixture
def small(written: Callable[..., Path], tmp_path: Path) -> Path:
    """A file of this test's own."""
    return Path(shutil.copy(written("embedded", "Q8_0"), tmp_path / "small.gguf"))


def weights(path: str) -> bytes:
    return (checkpoint.with_weights(path) / checkpoint.WEIGHTS).read_bytes()


def test_split_files_and_pieces_are_one_model(small: Path, tmp_path: Path) -> None:
    whole = weights(str(small))
    content = small.read_bytes()
    step = len(content) // 3 + 1
    for number in range(3):
        piece = tmp_path / f"cut.gguf.part{number:02}"
        piece.write_bytes(content[number * step : (number + 1) * step])
    assert weights(str(tmp_path / "cut.gguf.part01")) == whole
    splits = split(small, tmp_path / "split.gguf")
    assert len(splits) > 2
    assert load_file(checkpoint.with_weights(str(splits[1])) / checkpoint.WEIGHTS).keys() == (
        load_file(checkpoint.with_weights(str(small)) / checkpoint.WEIGHTS).keys()
    )
    assert model.of(str(splits[0])).gemma.layers == model.of(str(small)).gemma.layers
    first, last = (tmp_path / f"cut.gguf.part0{number}" for number in (0, 2))
    first.unlink()
    assert "its pieces are 01, 02" in refused(last)
    splits[2].unlink()
    assert f"{splits[2].name} is not there" in refused(splits[0])


def split(file: Path, to: Path) -> list[Path]:
    reader = gguf.GGUFReader(str(file))
    writer = gguf.GGUFWriter(str(to), "gemma4", split_max_tensors=40)
    for key, field in reader.fields.items():
        if key.startswith("GGUF.") or key == "general.architecture":
            continue
        inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
        writer.add_key_value(key, field.contents(), field.types[0], inner)
    for tensor in reader.tensors:
        writer.add_tensor(tensor.name, tensor.data, raw_dtype=tensor.tensor_type)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return sorted(to.parent.glob(f"{to.stem}-*-of-*.gguf"))


def refused(path: Path) -> str:
    """What is said of a file that is refused, in one message, before anything is made."""
    with pytest.raises(files.Refusal) as refusal:
        checkpoint.with_weights(str(path))
    (problem,) = refusal.value.problems
    assert (problem.key, problem.value) == ("model.path", str(path))
    assert problem.fix
    return problem.reason


def test_it_is_read_once_and_anew_once_it_changed(small: Path, its_own_cache: Path) -> None:
    folder = checkpoint.with_weights(str(small))
    before = (folder / checkpoint.WEIGHTS).stat()
    assert checkpoint.with_weights(str(small)) == folder
    assert (folder / checkpoint.WEIGHTS).stat() == before
    content = small.read_bytes()
    small.write_bytes(content)
    again = checkpoint.with_weights(str(small))
    assert again != folder
    assert (again / checkpoint.WEIGHTS).read_bytes() == (folder / checkpoint.WEIGHTS).read_bytes()
    assert not [*its_own_cache.rglob("*.part")]
    assert {path.stat().st_mode & 0o77 for path in its_own_cache.rglob("*")} == {0}


def test_nothing_half_made_remains(small: Path, its_own_cache: Path) -> None:
    """Neither of a file whose numbers are damaged far inside, nor of a process that was killed."""
    folder = checkpoint.described(str(small))
    # No process has this number (kernel/pid.c: at most 2^22).
    left = folder / f"{checkpoint.WEIGHTS}.{1 << 23}.part"
    left.write_bytes(b"half")
    tensor = list(model.of(str(small)).tensors.values())[-3]
    with small.open("r+b") as file:
        file.seek(tensor.first_byte)
        file.write(b"\xff" * tensor.row_bytes)
    assert "values that are no numbers" in refused(small)
    made = {path.name for path in its_own_cache.rglob("*") if path.is_file()}
    assert checkpoint.WEIGHTS not in made
    small.write_bytes(small.read_bytes()[:-100])
    assert "was not fetched whole" in refused(small)


def test_memory_is_bounded_whatever_the_models_size(
    small: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    gguf_model = model.of(str(small))
    checkpoint.described(str(small))
    largest = max(map(checkpoint._bytes, gguf_model.tensors.values()))
    monkeypatch.setattr(checkpoint, "_PIECE_VALUES", 1 << 10)
    tracemalloc.start()
    checkpoint.with_weights(str(small))
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert peak < largest / 2


def damaged(small: Path) -> Iterator[tuple[bytes, str]]:
    """Bytes of a file, and words that are said of it."""
    content = small.read_bytes()
    yield b"GGUF", "ends in the middle of its head"
    yield content[: len(content) // 100], "ends in the middle of its head"
    yield content[:-1000], "was not fetched whole"
    yield b"GGUF" + (9).to_bytes(4, "little") + content[8:], "version 9"
    for at, words in ((8, "tensors"), (16, "entries")):
        many = content[:at] + (1 << 62).to_bytes(8, "little") + content[at + 8 :]
        yield many, f"4,611,686,018,427,387,904 {words}"
    yield content[:24] + (1 << 50).to_bytes(8, "little") + content[32:], "a text in its head"


def test_a_damaged_file_is_refused_in_words(small: Path, tmp_path: Path) -> None:
    for number, (content, words) in enumerate(damaged(small)):
        path = tmp_path / f"{number}.gguf"
        path.write_bytes(content)
        assert words in refused(path)
    (tmp_path / "none.gguf").write_bytes(b"no model at all")
    assert "it is no GGUF file" in refused(tmp_path / "none.gguf")
    (tmp_path / "folder.gguf").mkdir()
    assert "a directory" in refused(tmp_path / "folder.gguf")
    assert "no such file" in refused(tmp_path / "gone.gguf")


def test_no_byte_of_a_head_can_make_it_fail_otherwise(small: Path, tmp_path: Path) -> None:
    content = small.read_bytes()
    draws = np.random.default_rng(0)
    head = min(tensor.first_byte for tensor in model.of(str(small)).tensors.values())
    tail = content[head:]
    path = tmp_path / "drawn.gguf"
    refusals = 0
    places = [*draws.integers(0, head, 40), *draws.integers(0, 1500, 60),
              *draws.integers(head - 12_000, head, 60)]  # fmt: skip
    for place, value in zip(places, itertools.cycle((0, 1, 127, 128, 255)), strict=False):
        changed = bytearray(content[:head])
        changed[place] = value
        path.write_bytes(bytes(changed) + tail)
        try:
            checkpoint.described(str(path))
        except files.Refusal:
            refusals += 1
    assert refusals > 20


def written_with(tmp_path: Path, architecture: str, **entries: str) -> Path:
    """A file of a head alone."""
    path = tmp_path / f"{architecture}{len(entries)}.gguf"
    writer = gguf.GGUFWriter(str(path), architecture)
    for key, value in entries.items():
        writer.add_string(key.replace("__", "."), value)
    writer.add_tensor("x.weight", np.zeros((1, 32), np.float32))
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return path


def test_what_is_no_gemma_is_called_what_it_is(tmp_path: Path) -> None:
    assert "'llama'" in refused(written_with(tmp_path, "llama"))
    assert "'gemma2'" in refused(written_with(tmp_path, "gemma2"))
    assert "'gemma3n'" in refused(written_with(tmp_path, "gemma3n"))
    assert "mmproj" in refused(written_with(tmp_path, "clip"))
    assert "mmproj" in refused(written_with(tmp_path, "gemma3", general__type="mmproj"))
    assert "an adapter" in refused(written_with(tmp_path, "gemma3", general__type="adapter"))
    assert "gemma3.block_count" in refused(written_with(tmp_path, "gemma3"))


def test_what_ollama_keeps_beside_the_model_is_left_out(
    small: Path, tmp_path: Path, written: Callable[..., Path]
) -> None:
    """Its towers, and a table that has a few more rows than there are tokens."""

    def change(name: str, data: np.ndarray, kind: int) -> object:
        return (name.replace("rope_freqs", "v.blk.0.attn_q"), data, kind)

    file = with_tensors(small, tmp_path / "towers.gguf", change)
    assert any(tensor.name.startswith("v.") for tensor in gguf.GGUFReader(str(file)).tensors)
    assert weights(str(file)) == weights(str(small))
    whole = written("gemma3")
    lists = {f"tokenizer.ggml.{key}" for key in ("tokens", "token_type", "scores")}
    file = with_tensors(whole, tmp_path / "cut.gguf", change, cut=lists)
    read, source = (tokenizer(Model(path=str(each))) for each in (file, whole))
    assert len(read) == len(source) == 4096
    assert read.convert_ids_to_tokens([4092, 4095]) == [
        source.convert_ids_to_tokens(4092), "[PAD4095]",
    ]  # fmt: skip
    assert read("Hello, world!").input_ids == source("Hello, world!").input_ids


def with_tensors(
    small: Path,
    to: Path,
    change: Callable[[str, np.ndarray, int], object],
    cut: Container[str] = (),
) -> Path:
    """A copy whose tensors are changed, to None they are left out, and whose lists lack three."""
    reader = gguf.GGUFReader(str(small))
    writer = gguf.GGUFWriter(str(to), reader.fields["general.architecture"].contents())
    for key, field in reader.fields.items():
        if not key.startswith("GGUF.") and key != "general.architecture":
            inner = field.types[-1] if field.types[0] == gguf.GGUFValueType.ARRAY else None
            value = field.contents()
            writer.add_key_value(key, value[:-3] if key in cut else value, field.types[0], inner)
    for tensor in reader.tensors:
        new = change(tensor.name, tensor.data, tensor.tensor_type)
        if isinstance(new, tuple):
            name, data, kind = new
            writer.add_tensor(name, data, raw_dtype=kind)
    writer.write_header_to_file()
    writer.write_kv_data_to_file()
    writer.write_tensors_to_file()
    writer.close()
    return to


def test_tensors_that_are_not_what_the_head_says_are_named(small: Path, tmp_path: Path) -> None:
    name = "blk.1.ffn_up.weight"
    iq = gguf.GGMLQuantizationType.Q8_K

    def without(each: str, data: np.ndarray, kind: int) -> object:
        return None if each == name else (each, data, kind)

    def short(each: str, data: np.ndarray, kind: int) -> object:
        return (each, data[:-1] if each == name else data, kind)

    def more(each: str, data: np.ndarray, kind: int) -> object:
        return (each.replace("attn_norm", "attn_fact") if "blk.2" in each else each, data, kind)

    def other(each: str, data: np.ndarray, kind: int) -> object:
        rows = np.zeros((2, 292), np.uint8)
        return (each, rows, iq) if each == name else (each, data, kind)

    refusals = {
        words: refused(with_tensors(small, tmp_path / f"{words}.gguf", change))
        for words, change in (("lacks", without), ("short", short), ("more", more), ("iq", other))
    }
    assert refusals["lacks"] == f"it lacks {name}"
    assert refusals["short"] == f"{name} is 255 x 128, and its head says 256 x 128"
    assert refusals["more"] == "it lacks blk.2.attn_norm.weight"
    assert refusals["iq"] == f"tensor {name!r} is stored as Q8_K, which can't be read"


def test_gemma_s_terms_are_agreed_to_first(
    written: Callable[..., Path], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "nobody"))
    with pytest.raises(files.Refusal) as refusal:
        checkpoint.with_weights(str(written("gemma3")))
    assert refusal.value.problems == [terms.PROBLEM]
    assert not [path for path in (tmp_path / "cache").rglob("*") if path.is_file()]
    weights(str(written("embedded")))
    record = terms.agree()
    weights(str(written("gemma3")))
    record.write_text(json.dumps({"terms": "of another time", "agreed": "then"}))
    assert not terms.agreed_on()
