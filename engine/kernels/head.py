"""Cross-entropy of a frozen output head whose gradient is made in the forward pass, in tiles.

A tile of logits lives as long as it takes to fold it into running sums, as in FlashAttention (Dao
et al. 2022, algorithm 1) with the head's rows as keys and values: two products per tile, no third
one that computes logits again, and nothing of the size of (tokens, vocabulary).
"""

from typing import Any

import torch

from engine.hardware.kernel_choice import TILE_TOKENS, TILE_VOCABULARY


def cross_entropy(
    hidden: torch.Tensor,
    weight: torch.Tensor,
    targets: torch.Tensor,
    softcap: float | None,
    token_weights: torch.Tensor | None = None,
) -> tuple[torch.Tensor, torch.Tensor]:
    """Negative log-likelihood summed over tokens, and how many targets had the largest logit.

    Hidden states are (tokens, width), the head's weight (vocabulary, width), targets (tokens,).
    Logits are `softcap * tanh(logits / softcap)` where that is given. Products are in the type of
    the weight, all sums in float32 or wider. Only the hidden states get a gradient. A tie for the
    largest logit counts. With `token_weights`, float32 (tokens,), loss and hits are sums of each
    token's own times its weight.
    """
    return _CrossEntropy.apply(hidden.to(weight.dtype), weight, targets, softcap, token_weights)


class _CrossEntropy(torch.autograd.Function):
    """Keeps the gradient of the sum, (tokens, width), and nothing else."""

    @staticmethod
    def forward(
        ctx: Any,
        hidden: torch.Tensor,
        weight: torch.Tensor,
        targets: torch.Tensor,
        softcap: float | None,
        token_weights: torch.Tensor | None,
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Loss, a scalar of float32 or wider, and hits, one of the targets' or weights' type."""
        wide = torch.promote_types(hidden.dtype, torch.float32)
        loss = hidden.new_zeros((), dtype=wide)
        hits = (targets if token_weights is None else token_weights)[:0].sum()
        gradient = torch.empty_like(hidden) if ctx.needs_input_grad[0] else None
        tiles = _Tiles(hidden, weight, softcap)
        for start in range(0, len(hidden), TILE_TOKENS):
            part = slice(start, start + TILE_TOKENS)
            sums = _Sums(hidden[part], targets[part], wide, has_gradient=gradient is not None)
            tiles.fold(hidden[part], sums)
            shares = token_weights[part] if token_weights is not None else None
            loss += _weighed(sums.loss(), shares).sum()
            hits += _weighed(sums.target >= sums.highest, shares).sum()
            if gradient is not None:
                gradient[part] = _weighed(sums.finished_gradient(weight, softcap), shares)
        if gradient is not None:
            ctx.save_for_backward(gradient)
        ctx.mark_non_differentiable(hits)
        return loss, hits

    @staticmethod
    def backward(ctx: Any, *gradients: Any) -> Any:
        """(tokens, width) in the hidden states' type, scaled by the gradient of the loss."""
        (gradient,) = ctx.saved_tensors
        return gradient * gradients[0].to(gradient.dtype), None, None, None, None


def _weighed(values: torch.Tensor, shares: torch.Tensor | None) -> torch.Tensor:
    """Values of tokens, (tokens,) or (tokens, width), each token's times its share."""
    if shares is None:
        return values
    return values * (shares if values.dim() == 1 else shares[:, None])


class _Sums:
    """Running sums of a tile of tokens, (tokens,) each, relative to the highest logit so far."""

    def __init__(
        self, hidden: torch.Tensor, targets: torch.Tensor, wide: torch.dtype, *, has_gradient: bool
    ) -> None:
        """Begin with none of the head's rows; hidden states are (tokens, width)."""
        zeros = hidden.new_zeros(len(hidden), dtype=wide)
        self.targets = targets
        self.highest = torch.full_like(zeros, -torch.inf)
        self.target = zeros.clone()
        """Logit of the target."""
        self.others = zeros
        """Exponentials of all logits but the target's, without which 1 - p is lost where p is 1."""
        self.gradient = torch.zeros_like(hidden, dtype=wide) if has_gradient else None
        """Rows of the head in proportion to these exponentials: (tokens, width)."""

    def raise_to(self, highest: torch.Tensor) -> None:
        """Make the sums relative to higher logits, (tokens,)."""
        fade = torch.exp(self.highest - highest)
        self.others *= fade
        if self.gradient is not None:
            self.gradient *= fade[:, None]
        self.highest = highest

    def loss(self) -> torch.Tensor:
        """Negative log-likelihood of each token, (tokens,)."""
        return self.highest - self.target + torch.log(self._all())

    def finished_gradient(self, weight: torch.Tensor, softcap: float | None) -> torch.Tensor:
        """The gradient of the summed loss by hidden states, (tokens, width) in the wide type.

        Probabilities times the head's rows, less the target's row.
        """
        assert self.gradient is not None
        share = self.others / self._all()
        if softcap is not None:
            share *= 1 - (self.target / softcap) ** 2
        self.gradient /= self._all()[:, None]
        rows = weight.index_select(0, self.targets).to(share.dtype)
        return self.gradient.addcmul_(rows, share[:, None], value=-1)

    def _all(self) -> torch.Tensor:
        """Exponentials of all logits, (tokens,)."""
        return self.others + torch.exp(self.target - self.highest)


class _Tiles:
    """The head's rows a tile at a time, in memory that every tile uses anew."""

    def __init__(self, hidden: torch.Tensor, weight: torch.Tensor, softcap: float | None) -> None:
        """Take memory for hidden states (tokens, width) and a weight (vocabulary, width)."""
        self.weight, self.softcap = weight, softcap
        wide = torch.promote_types(hidden.dtype, torch.float32)
        count = min(len(hidden), TILE_TOKENS) * min(len(weight), TILE_VOCABULARY)
        self.logits = hidden.new_empty(count, dtype=wide)
        self.products = self.logits if wide is hidden.dtype else hidden.new_empty(count)
        self.slopes = torch.empty_like(self.logits) if softcap is not None else None

    def fold(self, hidden: torch.Tensor, sums: _Sums) -> None:
        """Add every row of the head to the sums of a tile of hidden states, (tokens, width)."""
        for start in range(0, len(self.weight), TILE_VOCABULARY):
            rows = self.weight[start : start + TILE_VOCABULARY]
            size = len(hidden) * len(rows)
            products = self.products[:size].view(len(hidden), len(rows))
            logits = self.logits[:size].view_as(products)
            torch.mm(hidden, rows.t(), out=products)
            if self.products is not self.logits:
                logits.copy_(products)
            slopes = self._cap(logits)
            _exponentiate(logits, sums, start)
            if sums.gradient is None:
                continue
            if slopes is not None:
                logits *= slopes
            if self.products is self.logits:
                sums.gradient.addmm_(logits, rows)
            else:
                sums.gradient += products.copy_(logits) @ rows

    def _cap(self, logits: torch.Tensor) -> torch.Tensor | None:
        """Cap logits (tokens, rows) in place; gives the derivative of that, of the same shape."""
        if self.softcap is None or self.slopes is None:
            return None
        logits.div_(self.softcap).tanh_()
        slopes = self.slopes[: logits.numel()].view_as(logits)
        torch.mul(logits, logits, out=slopes).neg_().add_(1)
        logits *= self.softcap
        return slopes


def _exponentiate(logits: torch.Tensor, sums: _Sums, start: int) -> None:
    """Turn logits (tokens, rows) into exponentials in place, and sum them up.

    They are relative to the highest, and 0 at the target. `start` is the head's row of the first.
    """
    columns = sums.targets - start
    is_here = (columns >= 0) & (columns < logits.shape[1])
    columns = columns.clamp(0, logits.shape[1] - 1)[:, None]
    sums.target = torch.where(is_here, logits.gather(1, columns)[:, 0], sums.target)
    sums.raise_to(torch.maximum(sums.highest, logits.amax(1)))
    logits.sub_(sums.highest[:, None]).exp_()
    without_target = torch.where(is_here[:, None], 0, logits.gather(1, columns))
    logits.scatter_(1, columns, without_target)
    sums.others += logits.sum(1)
