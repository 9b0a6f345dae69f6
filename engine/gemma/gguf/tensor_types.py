"""The number formats of GGUF tensors: how many values share how many bytes, and what reads them."""

from typing import NamedTuple


class TensorType(NamedTuple):
    """A number format."""

    name: str
    block: int
    """Values that are stored together."""
    block_bytes: int
    is_read: bool = True
    """Whether the `gguf` package turns it into numbers."""

    @property
    def bits(self) -> float:
        """Bits that a value takes."""
        return 8 * self.block_bytes / self.block


TENSOR_TYPES = {
    0: TensorType("F32", 1, 4),
    1: TensorType("F16", 1, 2),
    2: TensorType("Q4_0", 32, 18),
    3: TensorType("Q4_1", 32, 20),
    6: TensorType("Q5_0", 32, 22),
    7: TensorType("Q5_1", 32, 24),
    8: TensorType("Q8_0", 32, 34),
    9: TensorType("Q8_1", 32, 40, is_read=False),
    10: TensorType("Q2_K", 256, 84),
    11: TensorType("Q3_K", 256, 110),
    12: TensorType("Q4_K", 256, 144),
    13: TensorType("Q5_K", 256, 176),
    14: TensorType("Q6_K", 256, 210),
    15: TensorType("Q8_K", 256, 292, is_read=False),
    16: TensorType("IQ2_XXS", 256, 66),
    17: TensorType("IQ2_XS", 256, 74),
    18: TensorType("IQ3_XXS", 256, 98),
    19: TensorType("IQ1_S", 256, 50),
    20: TensorType("IQ4_NL", 32, 18),
    21: TensorType("IQ3_S", 256, 110),
    22: TensorType("IQ2_S", 256, 82),
    23: TensorType("IQ4_XS", 256, 136),
    29: TensorType("IQ1_M", 256, 56),
    30: TensorType("BF16", 1, 2),
    34: TensorType("TQ1_0", 256, 54),
    35: TensorType("TQ2_0", 256, 66),
    39: TensorType("MXFP4", 32, 17),
}
"""By their numbers in a file (ggml.h, `enum ggml_type`), but those of whole numbers."""
EXACT = {"F32", "F16", "BF16"}
"""Formats that lose nothing of what Gemma is published in but, in F16, its very small numbers."""
