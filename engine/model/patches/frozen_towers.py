"""Vision towers that stay frozen compute nothing for a backward pass.

With checkpointing, hooks of transformers make every input embedding require a gradient, the
tower's among them, so that its whole backward pass would be computed for nothing.
"""

import torch

from engine.model.protocols import AdaptedModel
from engine.written_for import WrittenFor

WRITTEN_FOR = WrittenFor(
    "transformers",
    ">=5.22,<5.24",
    tuple(
        f"transformers.models.{module}.modeling_{module}:{kind}.get_image_features"
        for module, kind in (
            ("gemma3", "Gemma3Model"),
            ("gemma4", "Gemma4Model"),
            ("gemma4_unified", "Gemma4UnifiedModel"),
        )
    ),
)


def look_without_graph(model: AdaptedModel) -> None:
    """Let an adapted model look at images without keeping anything for a backward pass."""
    inner = model.get_base_model().model
    inner.get_image_features = torch.no_grad()(inner.get_image_features)
