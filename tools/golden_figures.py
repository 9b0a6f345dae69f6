"""Makes the doctor's golden figures from the installed packages: python -m tools.golden_figures.

Only after `python -m bench.golden` and `python -m bench.golden_images` have compared these packages
with other implementations.
"""

import json
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import torch

from engine.data.batches import TokenSequence
from engine.data.encoding.tokens import Tokens
from engine.doctor.golden import rounding, seeing_models, sight, truth
from engine.doctor.golden.figures import logits_of, mean_loss, measured, packed
from engine.doctor.golden.rows import encoded
from engine.doctor.specimens import KINDS, Specimens
from engine.doctor.trial import ADAPTER
from engine.model.load import Loaded
from engine.recipe.schema import Adapter

DIGITS = 9


def document() -> dict[str, Any]:
    """Rows and figures, as the doctor reads them."""
    torch.set_num_threads(1)
    with TemporaryDirectory() as folder:
        specimens = Specimens(Path(folder), has_own_head=True)
        talks = encoded(specimens)
        figures = {kind: _figures(specimens, kind, talks) for kind in KINDS}
        shapes = {kind: _shape(specimens, kind) for kind in KINDS}
        added = {
            kind: rounding.measured(
                specimens.gemma(kind, dtype="bfloat16"),
                specimens.gemma(kind),
                truth.rows(kind, talks),
            )
            for kind in KINDS
        }
        seeing = {kind: sight.figures(specimens, kind) for kind in seeing_models.KINDS}
        return {
            "rows": talks,
            "shapes": shapes,
            "figures": figures,
            "rounding": _rounded(added),
            "seeing": _rounded(seeing),
        }


def _shape(specimens: Specimens, kind: str) -> dict[str, Any]:
    """What the advice asks of a configuration."""
    config = specimens.gemma(kind).model.config.get_text_config()
    shared = getattr(config, "num_kv_shared_layers", 0)
    own = config.num_hidden_layers - shared
    layers = [
        name if number < own else f"{name} shared" for number, name in enumerate(config.layer_types)
    ]
    width = getattr(config, "hidden_size_per_layer_input", 0)
    return {
        "layers": layers,
        "hidden_size": config.hidden_size,
        "hidden_size_per_layer_input": width,
    }


def _figures(specimens: Specimens, kind: str, talks: dict[str, Any]) -> dict[str, Any]:
    figures = {}
    rows = truth.rows(kind, talks)
    for name, choices in truth.FORMATS.items():
        own = asdict(measured(specimens.gemma(kind, **choices), rows))
        if name == "float32":
            own["alternatives"] = _alternatives(specimens, kind, rows, own)
        else:
            own["stages"] = {
                stage: spans for stage, spans in own["stages"].items() if _ends_a_layer(stage)
            }
        figures[name] = _rounded(own)
    return figures


def _alternatives(
    specimens: Specimens, kind: str, rows: list[Tokens], right: dict[str, Any]
) -> dict[str, dict[str, float]]:
    """Losses under known bugs, by which the doctor tells them."""
    wrong = {
        "the adapter's update is scaled by lora_alpha / sqrt(r), not lora_alpha / r": Adapter(
            r=ADAPTER.r, lora_alpha=ADAPTER.lora_alpha, use_rslora=True
        ),
        "the adapter's update is not scaled by lora_alpha / r at all": Adapter(
            r=ADAPTER.r, lora_alpha=ADAPTER.r
        ),
        "the adapter's update is scaled by lora_alpha alone": Adapter(
            r=ADAPTER.r, lora_alpha=ADAPTER.lora_alpha * ADAPTER.r
        ),
    }
    adapted = {
        text: measured(specimens.gemma(kind), rows, adapter).adapted
        for text, adapter in wrong.items()
    }
    scored = _of_wrong_losses(specimens.gemma(kind), rows)
    adapted |= {"the adapter is not applied": right["loss"], **scored}
    return {"scored": scored, "adapted": adapted}


def _of_wrong_losses(gemma: Loaded, rows: list[Tokens]) -> dict[str, float]:
    """What `scored` would be under known bugs, by what these are called."""

    def logits(row: Tokens | TokenSequence, **inputs: Any) -> torch.Tensor:
        ids = row.ids if isinstance(row, Tokens) else row.input_ids
        return logits_of(gemma.model, ids, **inputs)

    in_batch = packed(rows)
    labels, labels_in_batch = ([row.labels for row in kind] for kind in (rows, in_batch))
    own = [logits(row) for row in rows]
    mixed = [
        logits(
            row,
            attention_mask=torch.ones(1, len(row.input_ids)),
            position_ids=torch.tensor([row.position_ids]),
        )
        for row in in_batch
    ]
    ids = [row.input_ids for row in in_batch]
    joined = [torch.cat([own[row] for row in group]) for group in in_batch.groups]
    continued = [logits(row) for row in in_batch]
    losses = {
        "labels are shifted twice": mean_loss(own, labels, shift=2),
        "labels are not shifted": mean_loss(own, labels, shift=0),
        "every token carries loss, not answers alone": mean_loss(joined, ids, shift=1),
        "rows that are packed see each other": mean_loss(mixed, labels_in_batch, shift=1),
        "rows that are packed go on from each other": mean_loss(
            continued, labels_in_batch, shift=1
        ),
    }
    config = gemma.model.config.get_text_config()
    if getattr(config, "final_logit_softcapping", None):
        config.final_logit_softcapping = None
        uncapped = mean_loss([logits(row) for row in rows], labels, shift=1)
        losses["the loss of training knows no final soft cap"] = uncapped
    return losses


def _ends_a_layer(stage: str) -> bool:
    """What is kept in number formats that only say whether a layer is right."""
    return stage.removeprefix("layers.").isdigit() or stage in ("embed_tokens", "norm")


def _rounded(value: Any) -> Any:
    if isinstance(value, str | int):
        return value
    if isinstance(value, float):
        return float(f"{value:.{DIGITS}g}")
    if isinstance(value, dict):
        return {name: _rounded(each) for name, each in value.items()}
    return [_rounded(each) for each in value]


def main() -> None:
    """Write the file: a line per row and per figure."""
    truth.FILE.write_text(_lines(document()) + "\n")
    print(f"{truth.FILE}: {truth.FILE.stat().st_size:,} bytes")


def _lines(value: Any, depth: int = 0) -> str:
    """JSON with a line of its own for each entry of the outer three tables."""
    if not isinstance(value, dict) or depth == 4:
        return json.dumps(value, separators=(",", ":"))
    inside = ",\n".join(
        f"{json.dumps(key)}:{_lines(each, depth + 1)}" for key, each in value.items()
    )
    return f"{{\n{inside}\n}}"


if __name__ == "__main__":
    main()
