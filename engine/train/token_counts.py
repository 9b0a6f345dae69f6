"""Exact sums over the micro-batches of one optimizer step."""

import torch


class Tally:
    """Counts on the model's device; read once per step, so that micro-batches never wait."""

    def __init__(self) -> None:
        self._counts: torch.Tensor | None = None
        self.tokens = 0
        """Tokens since the first step, padding excluded."""
        self.supervised_tokens = 0
        """Tokens that carried loss since the first step."""

    def add(self, tokens: torch.Tensor, supervised: torch.Tensor, correct: torch.Tensor) -> None:
        """Add a micro-batch: three counts, each a scalar tensor."""
        counts = torch.stack([tokens, supervised, correct])
        self._counts = counts if self._counts is None else self._counts + counts

    def close(self) -> tuple[int, float]:
        """Tokens and token accuracy of the step that ends here."""
        if self._counts is None:
            return 0, 0.0
        tokens, supervised, correct = (int(count) for count in self._counts.tolist())
        self._counts = None
        self.tokens += tokens
        self.supervised_tokens += supervised
        return tokens, correct / max(supervised, 1)
