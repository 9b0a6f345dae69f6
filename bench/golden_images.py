"""Confirms the golden figures of Gemma 3 with an image in numpy.

    python -m bench.golden_images

From an image's pixels to the loss of its row, by the published formulas alone, in float64: SigLIP
(Zhai et al., "Sigmoid Loss for Language Image Pre-Training", 2023; the tower of Dosovitskiy et al.,
"An Image is Worth 16x16 Words", 2021) and Gemma 3's decoder (its technical report, 2025), whose
image tokens see each other in both directions. The adapter is added to the weights. Nothing of
transformers is run but its tokenizer.

On 28 November 2026, with transformers 5.23.0: 34 of 39 figures, the loss off most by 8.5e-7.
The others are of modules that only hand on what those inside them give. The vision parts of Gemma 4
have no such confirmation.
"""

import json
import re
import sys
from collections.abc import Mapping
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import torch
from PIL import Image
from safetensors.numpy import load_file

from engine.data.encoding.tokens import IGNORED
from engine.doctor.golden import sight, truth
from engine.doctor.golden.figures import spans_of
from engine.doctor.golden.seeded_weights import uniform
from engine.doctor.specimens import SEEING, Specimens
from engine.doctor.trial import ADAPTER

KIND = "gemma3"
Array = np.ndarray[Any, np.dtype[np.float64]]
Weights = Mapping[str, Array]


def gelu(x: Array) -> Array:
    """By the approximation that both halves of the model are trained with."""
    cube: Array = np.sqrt(2 / np.pi) * (x + 0.044715 * x**3)
    return 0.5 * x * (1 + np.tanh(cube))


def softmax(x: Array) -> Array:
    """Over the last axis."""
    shares: Array = np.exp(x - x.max(-1, keepdims=True))
    return shares / shares.sum(-1, keepdims=True)


def attend(q: Array, k: Array, v: Array, scale: float, mask: Array | None = None) -> Array:
    """Heads of queries, keys and values (heads, tokens, width) to (tokens, heads * width)."""
    scores = scale * q @ k.transpose(0, 2, 1)
    mixed: Array = softmax(scores if mask is None else np.where(mask, scores, -np.inf)) @ v
    return mixed.transpose(1, 0, 2).reshape(q.shape[1], -1)


def heads(x: Array, count: int) -> Array:
    """(tokens, heads * width) to (heads, tokens, width)."""
    return x.reshape(len(x), count, -1).transpose(1, 0, 2)


class Numpy:
    """The tower, the projector and the decoder, whose stages are kept by the doctor's names."""

    def __init__(self, folder: Path) -> None:
        self.config = json.loads((folder / "config.json").read_text())
        files = load_file(folder / "model.safetensors")
        self.weights = {_name(name): each.astype(np.float64) for name, each in files.items()}
        self.stages: dict[str, Array] = {}

    def _linear(self, name: str, x: Array) -> Array:
        weight, bias = self.weights[f"{name}.weight"], self.weights.get(f"{name}.bias", 0.0)
        if name.startswith("language_model"):
            weight = weight + self._update(name, weight.shape)
        return self._stage(name, x @ weight.T + bias)

    def _update(self, name: str, shape: tuple[int, ...]) -> Array:
        """What the doctor's adapter adds to a weight."""
        parts = []
        for half, size, bound in (
            ("lora_B", (shape[0], ADAPTER.r), 0.5),
            ("lora_A", (ADAPTER.r, shape[1]), 1.0),
        ):
            place = f"base_model.model.model.{name.removeprefix('language_model.')}"
            numbers = uniform(f"{place}.{half}.default.weight", size)
            parts.append((numbers * bound / size[1] ** 0.5).numpy().astype(np.float64))
        update: Array = ADAPTER.lora_alpha / ADAPTER.r * parts[0] @ parts[1]
        return update

    def _stage(self, name: str, x: Array) -> Array:
        self.stages[name.removeprefix("language_model.")] = x
        return x

    def _layer_norm(self, name: str, x: Array) -> Array:
        centred = x - x.mean(-1, keepdims=True)
        eps = self.config["vision_config"].get("layer_norm_eps", 1e-6)
        normed = centred / np.sqrt((centred**2).mean(-1, keepdims=True) + eps)
        weight, bias = (self.weights[f"{name}.{part}"] for part in ("weight", "bias"))
        return self._stage(name, normed * weight + bias)

    def _rms_norm(self, name: str, x: Array) -> Array:
        normed = x / np.sqrt((x**2).mean(-1, keepdims=True) + 1e-6)
        return self._stage(name, normed * (1 + self.weights[f"{name}.weight"]))

    def see(self, pixels: Array) -> Array:
        """Pixels (3, height, width) to the features of an image's tokens."""
        vision = self.config["vision_config"]
        size, side = vision["patch_size"], vision["image_size"] // vision["patch_size"]
        self._stage("pixels", pixels)
        patches = pixels.reshape(3, side, size, side, size).transpose(1, 3, 0, 2, 4)
        place = "vision_tower.embeddings"
        kernel = self.weights[f"{place}.patch_embedding.weight"]
        x = patches.reshape(side * side, -1) @ kernel.reshape(len(kernel), -1).T
        x = x + self.weights[f"{place}.patch_embedding.bias"]
        self._stage(f"{place}.patch_embedding", x.T)
        x = self._stage(place, x + self.weights[f"{place}.position_embedding.weight"])
        for number in range(vision["num_hidden_layers"]):
            x = self._tower_layer(f"vision_tower.encoder.layers.{number}", x)
        x = self._layer_norm("vision_tower.post_layernorm", x)
        return self._projected(self._stage("vision_tower", x), side)

    def _tower_layer(self, place: str, x: Array) -> Array:
        count = self.config["vision_config"]["num_attention_heads"]
        normed = self._layer_norm(f"{place}.layer_norm1", x)
        q, k, v = (
            heads(self._linear(f"{place}.self_attn.{name}_proj", normed), count) for name in "qkv"
        )
        mixed = attend(q, k, v, q.shape[-1] ** -0.5)
        x = x + self._linear(f"{place}.self_attn.out_proj", mixed)
        inner = self._linear(f"{place}.mlp.fc1", self._layer_norm(f"{place}.layer_norm2", x))
        inner = self._stage(f"{place}.mlp.activation_fn", gelu(inner))
        return self._stage(place, x + self._linear(f"{place}.mlp.fc2", inner))

    def _projected(self, x: Array, side: int) -> Array:
        """Patches pooled to tokens by squares, normed and taken to the decoder's width."""
        place = "multi_modal_projector"
        tokens = int(self.config["mm_tokens_per_image"] ** 0.5)
        edge = side // tokens
        pooled = x.reshape(tokens, edge, tokens, edge, -1).mean((1, 3))
        self._stage(f"{place}.avg_pool", pooled.transpose(2, 0, 1))
        normed = self._rms_norm(f"{place}.mm_soft_emb_norm", pooled.reshape(tokens**2, -1))
        return self._stage(place, normed @ self.weights[f"{place}.mm_input_projection_weight"])

    def read(self, ids: list[int], features: Array) -> Array:
        """Token ids of a row with an image to logits (tokens, vocabulary)."""
        text = self.config["text_config"]
        table = self.weights["language_model.embed_tokens.weight"]
        is_image = np.array(ids) == self.config["image_token_index"]
        x = table[ids] * np.sqrt(text["hidden_size"])
        x[is_image] = features
        for number, kind in enumerate(text["layer_types"]):
            x = self._layer(f"language_model.layers.{number}", x, kind, is_image)
        return self._rms_norm("language_model.norm", x) @ table.T

    def _layer(self, place: str, x: Array, kind: str, is_image: Array) -> Array:
        text, places = self.config["text_config"], np.arange(len(x))
        back = places[:, None] - places
        mask = (back >= 0) & ((back < text["sliding_window"]) | (kind == "full_attention"))
        mask |= is_image[:, None] & is_image
        normed = self._rms_norm(f"{place}.input_layernorm", x)
        q, k, v = (
            heads(self._linear(f"{place}.self_attn.{name}_proj", normed), text[f"num_{of}_heads"])
            for name, of in (("q", "attention"), ("k", "key_value"), ("v", "key_value"))
        )
        theta = text["rope_parameters"][kind]["rope_theta"]
        q = turned(self._rms_norm(f"{place}.self_attn.q_norm", q), theta)
        k = turned(self._rms_norm(f"{place}.self_attn.k_norm", k), theta)
        mixed = attend(q, k, v, text["query_pre_attn_scalar"] ** -0.5, mask)
        out = self._linear(f"{place}.self_attn.o_proj", mixed)
        x = x + self._rms_norm(f"{place}.post_attention_layernorm", out)
        normed = self._rms_norm(f"{place}.pre_feedforward_layernorm", x)
        gate, up = (self._linear(f"{place}.mlp.{name}_proj", normed) for name in ("gate", "up"))
        out = self._linear(f"{place}.mlp.down_proj", gelu(gate) * up)
        return x + self._rms_norm(f"{place}.post_feedforward_layernorm", out)


def turned(x: Array, theta: float) -> Array:
    """Rotary embeddings: the halves of a head (heads, tokens, width) turn against each other."""
    half = x.shape[-1] // 2
    angles = np.arange(x.shape[1])[:, None] * theta ** (-np.arange(half) / half)
    first, second = x[..., :half], x[..., half:]
    cos, sin = np.cos(angles), np.sin(angles)
    return np.concatenate([first * cos - second * sin, second * cos + first * sin], -1)


def _name(stored: str) -> str:
    """A tensor's name in the file, without what classes around it add."""
    return re.sub(r"^(model\.)?((language_model)\.(model\.)?|(vision_tower)\.(vision_model\.)?)?",
                  lambda match: f"{match[3] or match[5]}." if match[2] else "", stored)  # fmt: skip


def main() -> int:
    """Compare every stage that both have, and the loss; 1 where one is off by the limit."""
    golden = truth.document()["seeing"][KIND]
    with TemporaryDirectory() as folder:
        specimens = Specimens(Path(folder), has_own_head=True)
        row = sight.row_of(specimens, KIND)
        own = Numpy(specimens.folder / f"{SEEING}{KIND}")
        image = np.asarray(Image.open(row.images[0]), np.float64).transpose(2, 0, 1)
        logits = own.read(row.ids, own.see((image / 255 - 0.5) / 0.5))
    places = [place for place, label in enumerate(row.labels) if label != IGNORED]
    loss = -np.mean([np.log(softmax(logits[place - 1]))[row.labels[place]] for place in places])
    off = {"loss": abs(float(loss) - golden["loss"])}
    soft = own.config["image_token_index"]
    ends = row.ids.index(soft), row.ids.index(soft) + row.ids.count(soft), len(row.ids)
    for name in golden["stages"].keys() & own.stages.keys():
        values = torch.from_numpy(np.ascontiguousarray(own.stages[name]))
        figures = (
            spans_of(values, len(row.ids), ends)
            if name.startswith("layers")
            else spans_of(values.reshape(1, -1), 1, [1])
        )
        (move,) = truth.moved_stages(golden["stages"], {name: figures})
        off[name] = move.error
    worst = max(off, key=lambda name: off[name])
    print(f"{len(off)} of {len(golden['stages']) + 1} figures, of which {worst} is off most: "
          f"{off[worst]:.1e}")  # fmt: skip
    return int(golden["ids"] != row.ids or off[worst] > truth.LIMIT)


if __name__ == "__main__":
    sys.exit(main())
