"""Towers and projectors of a multimodal model, which stay frozen."""

from typing import Any

import torch


def look_without_graph(model: Any) -> None:
    """Let the model look at images without keeping anything for a backward pass.

    With checkpointing, hooks of transformers make every input embedding require a gradient, the
    tower's among them, so that its whole backward pass would be computed for nothing.
    """
    inner = model.get_base_model().model
    inner.get_image_features = torch.no_grad()(inner.get_image_features)
