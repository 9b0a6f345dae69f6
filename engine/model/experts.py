"""A mixture of experts whose weights are held in NF4, in the place of transformers' own."""

from typing import Any

import torch
from bitsandbytes.nn import Params4bit
from torch import nn

from engine.model.expert_matmul import grouped, multiply
from engine.model.protocols import LanguageModel

_REPLACED = "Gemma4TextExperts"


class QuantisedExperts(nn.Module):
    """What stands for `Gemma4TextExperts`: the same names, inputs and outputs."""

    gate_up_proj: Params4bit
    """(experts, 2 * intermediate, hidden) once it is quantised."""
    down_proj: Params4bit
    """(experts, hidden, intermediate)."""

    def __init__(self, experts: Any) -> None:
        super().__init__()
        self.num_experts: int = experts.num_experts
        self.act_fn = experts.act_fn
        for name, parameter in experts.named_parameters(recurse=False):
            parameter.requires_grad_(False)
            self.register_parameter(name, parameter)

    def forward(
        self, hidden_states: torch.Tensor, top_k_index: torch.Tensor, top_k_weights: torch.Tensor
    ) -> torch.Tensor:
        """The weighted sum of what its experts make of each token, in the tokens' type.

        Tokens are (tokens, hidden), indices and weights of their experts (tokens, k).
        """
        tokens, per_token = top_k_index.shape
        experts, order = torch.sort(top_k_index.reshape(-1))
        groups = grouped(experts, self.num_experts)
        rows = hidden_states[order // per_token]
        rows = multiply(rows, self.gate_up_proj, groups)
        rows = self._gated(rows)
        rows = multiply(rows, self.down_proj, groups)
        rows = rows * top_k_weights.reshape(-1)[order].unsqueeze(-1)
        inverse = torch.empty_like(order)
        inverse[order] = torch.arange(len(order), device=order.device)
        rows = rows[inverse]
        return rows.view(tokens, per_token, -1).sum(dim=1).to(hidden_states.dtype)

    def _gated(self, gate_up: torch.Tensor) -> torch.Tensor:
        """(n, 2 * intermediate) to (n, intermediate)."""
        gate, up = gate_up.chunk(2, dim=-1)
        gated: torch.Tensor = self.act_fn(gate) * up
        return gated


def replace_experts(model: LanguageModel) -> list[str]:
    """Put quantised experts in the place of all others; gives their names.

    Their weights are still those of the model, to be replaced by 4-bit ones one after the other.
    """
    names = [name for name, each in model.named_modules() if type(each).__name__ == _REPLACED]
    for name in names:
        model.set_submodule(name, QuantisedExperts(model.get_submodule(name)))
    return names
