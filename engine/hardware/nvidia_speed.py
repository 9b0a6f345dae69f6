"""How fast an NVIDIA card is that no profile describes: by its cores, its clocks and its bus."""

from dataclasses import dataclass

_PER_CLOCK = 2
"""A multiplication and an addition of a core, or two transfers of a line of the bus."""
_SHORT_OVER_FLOAT32 = {
    (7, 0): 125 / 15.7, (7, 5): 65 / 8.1, (8, 0): 312 / 19.5, (8, 6): 149.7 / 37.4,
    (8, 9): 362 / 91.6, (9, 0): 989.4 / 66.9, (10, 0): 2250 / 75, (12, 0): 503.8 / 126,
}  # fmt: skip
"""Dense products in 16 bits with 32-bit sums over FP32, by compute capability: NVIDIA's datasheets
of V100, T4, A100, A40, L40S, H100 and DGX B200, and the RTX PRO Blackwell whitepaper."""
_OF_GEFORCE = {(7, 5): 4.0, (8, 6): 2.0, (8, 9): 2.0, (12, 0): 2.0}
"""GeForce cards sum in 32 bits at half the rate: the whitepapers of Turing (RTX 2080 Ti: 53.8 over
13.4), Ampere GA102, Ada and RTX Blackwell."""


@dataclass(frozen=True, slots=True)
class Speed:
    """What a card's driver tells of it, at the highest clocks; boards boost to a fifth less."""

    cores: int
    clock_mhz: int
    bus_bits: int
    memory_clock_mhz: int

    @property
    def bandwidth_gb_s(self) -> float:
        """Of its memory, in 10^9 bytes a second."""
        return round(_PER_CLOCK * self.memory_clock_mhz * self.bus_bits / 8 / 1000, 1)

    @property
    def float32_tflops(self) -> float:
        """FP32 of its cores, in 10^12 FLOP/s; no tensor core serves float32, as TF32 is off."""
        return round(_PER_CLOCK * self.cores * self.clock_mhz / 1e6, 1)

    def tflops(self, name: str, capability: tuple[int, int]) -> float | None:
        """Dense 16-bit products with 32-bit sums; None for a generation that is not known here."""
        ratios = _SHORT_OVER_FLOAT32 | (_OF_GEFORCE if "GeForce" in name else {})
        ratio = ratios.get(capability)
        return ratio and round(_PER_CLOCK * self.cores * self.clock_mhz / 1e6 * ratio, 1)
