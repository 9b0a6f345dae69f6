"""Which of the processes that train together this one is."""

from dataclasses import dataclass

import torch
from accelerate import Accelerator


@dataclass(frozen=True, slots=True)
class World:
    """One process of a run. Only the main one writes events, checkpoints and the adapter."""

    accelerator: Accelerator

    @property
    def rank(self) -> int:
        """This process among all, from 0."""
        return int(self.accelerator.process_index)

    @property
    def size(self) -> int:
        """Processes that train together."""
        return int(self.accelerator.num_processes)

    @property
    def is_main(self) -> bool:
        """Whether this process is the one that writes."""
        return self.rank == 0

    def sum(self, tensor: torch.Tensor) -> torch.Tensor:
        """The elementwise sum of a tensor over all processes; the tensor itself where it is one."""
        if self.size == 1:
            return tensor
        total: torch.Tensor = self.accelerator.reduce(tensor, reduction="sum")
        return total
