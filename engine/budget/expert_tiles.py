"""How much of a stack of 4-bit matrices is spelled out at once, on a CPU and on a card."""

from dataclasses import dataclass

from engine.budget.library_kernels import NF4_BLOCK

CHUNK_BYTES = 2 << 20
"""The most that is spelled out at once on a CPU, unless one matrix is larger."""
SLAB_BYTES = 256 << 20
"""The most that is spelled out at once on a card; 26B-A4B's larger stack has 968 MiB."""


@dataclass(frozen=True, slots=True)
class Stack:
    """Equal matrices: as many as there are experts."""

    count: int
    rows: int
    columns: int
    width: int
    """Bytes of a number once it is spelled out."""
    block_size: int = NF4_BLOCK

    def outputs(self, *, back: bool) -> int:
        """Numbers in a row of the product; `back` takes matrices transposed."""
        return self.columns if back else self.rows

    def chunk(self, *, is_on_card: bool) -> int:
        """Matrices at once: as many as fit into a CPU's cache, or into what a card may spend."""
        limit = SLAB_BYTES if is_on_card else CHUNK_BYTES
        return min(self.count, max(1, limit // (self.rows * self.columns * self.width)))

    def slab(self, *, back: bool) -> int:
        """Outputs of every matrix at once, in whole blocks; all where a row is no whole blocks."""
        outputs = self.outputs(back=back)
        if self.columns % self.block_size:
            return outputs
        of_one = self.count * self.rows * self.columns // outputs * self.width
        return min(outputs, max(1, SLAB_BYTES // of_one // self.block_size) * self.block_size)
