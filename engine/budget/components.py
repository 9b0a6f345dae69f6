"""The parts that memory is told by, in the order of the table."""

PARTS = {
    "weights": "frozen weights of the layers",
    "quantisation state": "scales of the 4-bit blocks",
    "embeddings": "the token table, which is the output head too",
    "per-layer embeddings": "Gemma 4's tables of every layer",
    "experts": "weights of all experts",
    "towers": "vision and audio, frozen",
    "LoRA": "trained weights in float32",
    "gradients": "of the trained weights",
    "optimizer": "its state for every trained weight",
    "batch": "token numbers, labels and positions",
    "checkpoints": "what each layer keeps of its input for the backward pass",
    "activations": "what every layer keeps for the backward pass",
    "recomputed layer": "one layer's activations, computed again",
    "head": "tiles of the logits and their gradient",
    "images": "pixels and one layer of the vision tower",
    "sampling": "keys, values and logits while prompts are answered",
    "temporaries": "gradients on their way, and memory within kernels",
    "cuBLAS workspaces": "of the forward and the backward thread",
    "allocator slack": "gaps between blocks that PyTorch reserves from the driver",
    "device context": "what the driver takes for the process",
}
"""Every part and what it is."""
