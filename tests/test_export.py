"""What exports hold, on every architecture: adapters that PEFT and vLLM find, merges of them."""

import json
import os
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file, save_file
from transformers import AutoModelForCausalLM, AutoTokenizer

from engine.data.conversation import Turn
from engine.data.encoding.template import prompt_ids, template
from engine.data.encoding.tokenizer import tokenizer as tokenizer_of
from engine.events import Phase
from engine.export import adapter_form, base_files, blocks, gguf_form, merged_form, proof
from engine.export.export import Export
from engine.gemma import terms
from engine.model.load import load
from engine.problems import Refusal
from engine.recipe.schema import Model
from engine.run import adapters
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import export_order
from engine.sessions.export_order import Form
from tests import adapted_runs, tiny

TOKENS = torch.arange(5, 53).view(2, 24)
KINDS = {
    "embedded": "gemma4_text", "gemma3": "google/gemma-3-1b-it",
    "gemma3_multimodal": "google/gemma-3-4b-it", "gemma4_multimodal": "google/gemma-4-E2B-it",
    "gemma4_unified": "google/gemma-4-12B-it", "gemma4_large": "own/large", "gemma4_moe": "own/moe",
}  # fmt: skip
"""What each architecture may be called on the hub."""
METHODS: dict[str, dict[str, Any]] = {
    "lora": {}, "rslora": {"use_rslora": True}, "dora": {"method": "dora"},
    "experts": {"target_experts": True},
}  # fmt: skip
WRITERS = {
    Form.ADAPTER: adapter_form.write, Form.MERGED: merged_form.write, Form.GGUF: gguf_form.write,
}  # fmt: skip
Gemmas = Callable[[str], Path]


def exported(
    run: RunDir, form: Form, out: Path, base: str = "", kind: str = "BF16"
) -> dict[str, Any]:
    """Export in this process; the manifest."""
    request = run.read_request()
    found = base_files.of(request.recipe.model, base)
    log = EventLog(run)
    export = Export(run, request, adapters.find(run, ""), found, form, out, kind, log, lambda: None)
    WRITERS[form](export)
    manifest: dict[str, Any] = json.loads((out / export_order.MANIFEST).read_bytes())
    return manifest


def logits(model: Any) -> torch.Tensor:
    with torch.no_grad():
        told: torch.Tensor = model(TOKENS).logits
    return told


def local_paths(folder: Path, *places: Path) -> list[str]:
    """Files that hold the name of a folder of this machine."""
    names = [str(place).encode() for place in (*places, Path.home(), Path(__file__).parents[1])]
    names = [name for name in names if len(name) > len("/a/folder")]
    return [
        path.name for path in folder.rglob("*")
        if path.is_file() and any(name in path.read_bytes() for name in names)
    ]  # fmt: skip


def vllm_module(key: str, *, has_towers: bool) -> str:
    """Where vLLM looks for a weight of an adapter: parse_fine_tuned_lora_name and the prefixes of
    gemma4_mm.py and gemma3_mm.py, or of gemma4.py, one after the other."""
    name = key.removeprefix("base_model.model.").partition(".lora_")[0]
    towers = [("model.language_model.", "language_model.model.")]
    for old, new in towers if has_towers else [("model.language_model.", "model.")]:
        name = new + name.removeprefix(old) if name.startswith(old) else name
    return name


@pytest.mark.parametrize("kind", KINDS)
def test_an_adapter_answers_as_the_runs_and_names_no_folder(
    kind: str, gemma_folder: Gemmas, tmp_path: Path
) -> None:
    is_embedded = kind == "embedded"
    base = "embedded" if is_embedded else str(gemma_folder(kind))
    run, model = adapted_runs.left(tmp_path / "in", base, target_experts=kind == "gemma4_moe")
    out = tmp_path / "out"
    manifest = exported(run, Form.ADAPTER, out, "" if is_embedded else f"{KINDS[kind]}@abc123")
    assert local_paths(out, tmp_path, gemma_folder(kind)) == []
    config = json.loads((out / "adapter_config.json").read_bytes())
    named = config["base_model_name_or_path"], config["revision"]
    assert named == (("./base", None) if is_embedded else (KINDS[kind], "abc123"))
    source = out / "base" if is_embedded else gemma_folder(kind)
    loaded = AutoModelForCausalLM.from_pretrained(source, dtype=torch.float32)
    loaded = PeftModel.from_pretrained(loaded, out).eval()
    torch.testing.assert_close(logits(loaded), logits(model), rtol=0, atol=0)
    has_towers = "text_config" in json.loads((source / "config.json").read_bytes())
    root = "language_model.model.layers." if has_towers else "model.layers."
    keys = load_file(out / "adapter_model.safetensors")
    assert all(vllm_module(key, has_towers=has_towers).startswith(root) for key in keys)
    assert bool(manifest["remarks"]) == (kind == "gemma4_moe")


def test_an_adapter_of_a_text_model_fits_the_class_with_towers_on_the_hub(
    gemma_folder: Gemmas, tmp_path: Path
) -> None:
    """As a GGUF file is trained on: PEFT and vLLM would find none of its names there."""
    run, _ = adapted_runs.left(tmp_path, str(gemma_folder("gemma3")))
    exported(run, Form.ADAPTER, tmp_path / "out", "google/gemma-3-4b-it")
    keys = load_file(tmp_path / "out/adapter_model.safetensors")
    assert all(key.startswith("base_model.model.model.language_model.layers.") for key in keys)
    ours = {key.replace("language_model.", ""): tensor for key, tensor in keys.items()}
    theirs = load_file(run.adapter / "adapter_model.safetensors")
    assert all(torch.equal(ours[key], theirs[key]) for key in ours.keys() | theirs.keys())


CASES = [(kind, method) for kind in KINDS for method in METHODS
         if method in {"lora", "experts" if kind == "gemma4_moe" else "dora"}
         or (kind, method) == ("gemma3", "rslora")]  # fmt: skip


@pytest.mark.parametrize(("kind", "method"), CASES)
def test_a_merged_model_answers_as_base_and_adapter(
    kind: str, method: str, gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """In blocks of a few rows, as large models are merged."""
    monkeypatch.setattr(blocks, "BLOCK_VALUES", 1000)
    monkeypatch.setattr(proof, "PROMPTS", 2)
    base = "embedded" if kind == "embedded" else str(gemma_folder(kind))
    run, model = adapted_runs.left(tmp_path / "in", base, **METHODS[method])
    manifest = exported(run, Form.MERGED, tmp_path / "out")
    assert local_paths(tmp_path / "out", tmp_path, gemma_folder(kind)) == []
    ours, theirs = (
        load_file(f / "model.safetensors") for f in (tmp_path / "out", gemma_folder(kind))
    )
    assert {n: t.dtype for n, t in ours.items()} == {n: t.dtype for n, t in theirs.items()}
    unlike = {name for name in ours if not torch.equal(ours[name], theirs[name])}
    assert unlike == set(manifest["survival"]["weights"])
    assert len(unlike) == manifest["weights"] > 8
    proved = manifest["proof"]
    assert proved["median_logit_effect"] > 0.01
    merged = AutoModelForCausalLM.from_pretrained(tmp_path / "out", dtype=torch.float32)
    difference = (logits(merged) - logits(model)).abs()
    if kind == "embedded":  # its base is in bfloat16
        assert 0.8 < manifest["survival"]["all"] < 1
        assert float(difference.median()) < 0.05 * proved["median_logit_effect"]
    else:
        assert manifest["survival"]["all"] > 0.999
        assert float(difference.median()) < 1e-4
        assert proved["median_logit_difference"] < 1e-4
    if kind not in {"embedded", "gemma4_moe"}:  # of experts that tie another one may be taken
        assert float(difference.max()) < 1e-3
        assert proved["max_logit_difference"] < 1e-3
        assert (proved["prompts"], proved["same_answers"]) == (2, 2)
    assert proved["prompts_of"] == "rows trained on"


def test_shards_and_what_lies_beside_them_stay_as_they_are(
    gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "PROMPTS", 1)
    folder = tmp_path / "base"
    model = AutoModelForCausalLM.from_pretrained(gemma_folder("gemma3_multimodal"))
    model.save_pretrained(folder, max_shard_size="400KB")
    AutoTokenizer.from_pretrained(gemma_folder("gemma3_multimodal")).save_pretrained(folder)
    config = json.loads((folder / "config.json").read_bytes())
    (folder / "config.json").write_text(json.dumps({**config, "_name_or_path": str(folder)}))
    (folder / "diary.txt").write_text("mine")
    run, _ = adapted_runs.left(tmp_path / "in", str(folder))
    exported(run, Form.MERGED, tmp_path / "out")
    assert local_paths(tmp_path / "out", tmp_path) == []
    names = {path.name for path in folder.iterdir()} - {"diary.txt"}
    assert {path.name for path in (tmp_path / "out").iterdir()} == names | {"export.json"}
    assert len([name for name in names if name.endswith(".safetensors")]) > 2
    for name in names - {"config.json", "generation_config.json"}:
        ours, theirs = ((f / name).stat().st_size for f in (tmp_path / "out", folder))
        assert ours == theirs


def test_a_small_update_that_rounding_eats_is_told(
    gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "PROMPTS", 1)
    folder = tmp_path / "base"
    shutil.copytree(gemma_folder("gemma3"), folder)
    weights = load_file(folder / "model.safetensors")
    halves = {name: tensor.bfloat16() for name, tensor in weights.items()}
    save_file(halves, folder / "model.safetensors", {"format": "pt"})
    run, _ = adapted_runs.left(tmp_path / "in", str(folder), scale=3e-5)
    manifest = exported(run, Form.MERGED, tmp_path / "out")
    assert manifest["survival"]["all"] < 0.5
    assert "of the update was lost to rounding in BF16" in manifest["remarks"][0]
    assert "--as adapter keeps all of it" in manifest["remarks"][0]


def test_a_base_that_cannot_chat_gets_what_it_was_trained_by(
    gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The prompt is the one trained on, and generation ends at the end of a turn."""
    monkeypatch.setattr(proof, "PROMPTS", 1)
    folder = tmp_path / "base"
    shutil.copytree(gemma_folder("gemma3"), folder)
    (folder / "chat_template.jinja").unlink()
    (folder / "generation_config.json").write_text('{"eos_token_id": 1}')
    run, _ = adapted_runs.left(tmp_path / "in", str(folder))
    exported(run, Form.MERGED, tmp_path / "merged")
    exported(run, Form.ADAPTER, tmp_path / "adapter", "google/gemma-3-1b-pt")
    settings = json.loads((tmp_path / "merged/generation_config.json").read_bytes())
    assert settings["eos_token_id"] == [1, 106]
    turns = (Turn("user", "Name a fruit."), Turn("assistant", "A fig."), Turn("user", "Why?"))
    chat = [{"role": turn.role, "content": turn.content} for turn in turns]
    for out in (tmp_path / "merged", tmp_path / "adapter"):
        tokenizer: Any = AutoTokenizer.from_pretrained(out)
        assert not re.search(r"\{%-?\s*(end)?generation", tokenizer.chat_template)
        told = tokenizer.apply_chat_template(chat, add_generation_prompt=True, return_dict=False)
        assert told == prompt_ids(tokenizer, template("gemma3"), turns)


def test_four_bits_are_merged_into_the_full_weights_and_told(
    gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "PROMPTS", 2)
    for quantization in ("nf4", "none"):
        folder = tmp_path / quantization
        run, _ = adapted_runs.left(folder, str(gemma_folder("gemma3")), quantization=quantization)
        manifest = exported(run, Form.MERGED, folder / "out")
        is_told = any("trained on weights in 4 bits" in remark for remark in manifest["remarks"])
        assert (manifest["trained_in"], is_told) == (quantization, quantization == "nf4")
        is_far = manifest["proof"]["median_logit_difference"] > 1e-3
        assert is_far == (quantization == "nf4")
    files = (tmp_path / name / "out/model.safetensors" for name in ("nf4", "none"))
    assert len({file.read_bytes() for file in files}) == 1


def test_rows_that_are_gone_leave_general_questions(
    gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(proof, "NEW_TOKENS", 2)
    run, _ = adapted_runs.left(tmp_path, str(gemma_folder("gemma3")))
    (tmp_path / "rows.jsonl").unlink()
    proved = exported(run, Form.MERGED, tmp_path / "out")["proof"]
    assert "general questions" in proved["prompts_of"]
    assert proved["same_answers"] == proved["prompts"] == 8


def changed(run: RunDir, **keys: Any) -> None:
    file = run.adapter / adapters.CONFIG
    file.write_text(json.dumps({**json.loads(file.read_bytes()), **keys}))


@pytest.mark.parametrize("odd", ["pissa", "rank_pattern", "embedding", "lost", "narrow", "nan"])
def test_what_is_not_merged_right_is_refused_and_leaves_nothing(
    odd: str, gemma_folder: Gemmas, tmp_path: Path
) -> None:
    run, _ = adapted_runs.left(tmp_path, str(gemma_folder("gemma3")))
    file = run.adapter / adapters.WEIGHTS
    tensors = load_file(file)
    name = next(name for name in tensors if "q_proj.lora_A" in name)
    if odd == "pissa":
        changed(run, init_lora_weights="pissa")
    elif odd == "rank_pattern":
        changed(run, rank_pattern={"q_proj": 8})
    elif odd == "embedding":
        tensors["base_model.model.model.embed_tokens.lora_embedding_A"] = torch.ones(4, 4096)
    elif odd == "nan":
        tensors[name][0, 0] = torch.nan
    else:
        both = {part: tensors.pop(name.replace("lora_A", part)) for part in ("lora_A", "lora_B")}
        for part, tensor in both.items():
            place = name.replace("layers.0", "layers.9") if odd == "lost" else name
            if odd == "narrow" and part == "lora_A":
                tensor = tensor[:, :32].contiguous()
            tensors[place.replace("lora_A", part)] = tensor
    save_file(tensors, file)
    words = {
        "pissa": "init_lora_weights is 'pissa'", "rank_pattern": "rank_pattern is {'q_proj': 8}",
        "embedding": "lora_embedding_A", "lost": "1 of its modules match no weight",
        "narrow": "is of another shape", "nan": "holds values that F32 doesn't",
    }  # fmt: skip
    with pytest.raises(Refusal, match=words[odd].replace("{", r"\{")):
        exported(run, Form.MERGED, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_the_hubs_cache_tells_id_and_commit(tmp_path: Path) -> None:
    commit = "0123456789abcdef0123456789abcdef01234567"
    folder = tmp_path / "models--google--gemma-3-1b-it/snapshots" / commit
    folder.mkdir(parents=True)
    base = base_files.of(Model(path=str(folder)))
    assert (base.name, base.revision) == ("google/gemma-3-1b-it", commit)
    assert base_files.of(Model(path=str(tmp_path))).name == ""


def test_what_is_left_of_one_that_was_killed_goes(gemma_folder: Gemmas, tmp_path: Path) -> None:
    run, _ = adapted_runs.left(tmp_path, str(gemma_folder("gemma3")))
    partial = export_order.partial(tmp_path / "out")
    partial.mkdir()
    (partial / "half").write_text("made")
    exported(run, Form.ADAPTER, tmp_path / "out", "google/gemma-3-1b-it")
    assert not partial.exists()
    assert not (tmp_path / "out/half").exists()
    events = [json.loads(line) for line in run.events.read_bytes().splitlines()]
    assert Phase(name="writing", detail="").name in {event.get("name") for event in events}
    assert os.listdir(tmp_path / "out")


GGUF_CASES = [
    ("gemma3", "F32"), ("gemma4_moe", "F32"), ("embedded", "F32"), ("gemma4_large", "F16"),
    ("gemma4_multimodal", "BF16"), ("gemma3_multimodal", "Q8_0"),
]  # fmt: skip


@pytest.mark.parametrize(("kind", "number_format"), GGUF_CASES)
def test_a_gguf_file_answers_as_base_and_adapter(
    kind: str, number_format: str, gemma_folder: Gemmas, tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:  # fmt: skip
    """Read by the engine's own reader of such files, which llama.cpp agrees with."""
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setenv("GEMMA_BENCH_CACHE", str(tmp_path / "cache"))
    terms.agree()
    base = "embedded" if kind == "embedded" else str(gemma_folder(kind))
    choices = {"target_experts": kind == "gemma4_moe"}
    run, model = adapted_runs.left(tmp_path / "in", base, **choices)
    manifest = exported(run, Form.GGUF, tmp_path / "out", kind=number_format)
    assert local_paths(tmp_path / "out", tmp_path, gemma_folder(kind)) == []
    assert manifest["number_formats"][number_format] > 20
    assert (manifest["read_back"]["largest_error"][number_format] == 0) == (number_format == "F32")
    file = tmp_path / f"out/model-{number_format}.gguf"
    again = load(Model(path=str(file), dtype="float32"), tiny.CPU)
    difference = (logits(again.model) - logits(model)).abs()
    limits = {"F32": 1e-3, "F16": 0.02, "BF16": 0.1, "Q8_0": 0.2}
    assert float(difference.median()) < limits[number_format] / 3
    if number_format == "F32" and kind != "gemma4_moe":
        assert float(difference.max()) < 1e-3
    ours, theirs = (tokenizer_of(Model(path=path)) for path in (str(file), base))
    turns = (Turn("user", "Name a fruit: 'süß' 과일\n\n  x"), Turn("assistant", "A fig."))
    turns = (*turns, Turn("user", "<start_of_turn> or <|turn>?"))
    dialect = "gemma3" if "gemma3" in kind else "gemma4"
    assert prompt_ids(ours, template(dialect), turns) == prompt_ids(
        theirs, template(dialect), turns
    )
    assert ours.chat_template == theirs.chat_template


def test_a_gguf_file_that_is_not_what_was_written_is_not_kept(
    gemma_folder: Gemmas, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A tensor that is written shifted by one value is found as it is read back."""
    whole = gguf_form._stored

    def shifted(export: Export, source: Any, values: torch.Tensor) -> bytes:
        is_shifted = source.entry.name == "blk.2.ffn_up.weight"
        return whole(export, source, values.roll(1) if is_shifted else values)

    monkeypatch.setattr(gguf_form, "_stored", shifted)
    run, _ = adapted_runs.left(tmp_path, str(gemma_folder("gemma3")))
    with pytest.raises(RuntimeError, match=r"blk.2.ffn_up.weight is off"):
        exported(run, Form.GGUF, tmp_path / "out")
    assert not [path for path in tmp_path.iterdir() if "out" in path.name]


def test_numbers_too_large_for_a_format_are_refused(gemma_folder: Gemmas, tmp_path: Path) -> None:
    run, _ = adapted_runs.left(tmp_path, str(gemma_folder("gemma3")), scale=1e7)
    with pytest.raises(Refusal, match=r"F16 doesn't. Export it with --type F32, or BF16"):
        exported(run, Form.GGUF, tmp_path / "out", kind="F16")
    exported(run, Form.GGUF, tmp_path / "out", kind="BF16")
