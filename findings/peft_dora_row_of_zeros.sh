#!/usr/bin/env bash
# A row of zeros in one weight makes everything that a DoRA layer gives NaN, forwards and backwards.
#
# Versions: peft 0.21.2, torch 2.13.0, transformers 5.23.0, Python 3.11.
# DoRA scales each row of the weight by its learned length over the row's norm. Pruned models, and rows of
# vocabularies that were padded, hold rows of zeros: zero over zero. One output of 16 is enough that the
# gradients of A, B and of every length of that layer are NaN, so that the first step of an optimizer
# takes the whole adapter along. PEFT neither raises nor warns. The same layer with plain LoRA is fine.
#
# Seen:
#   dora: outputs that are NaN: 1 of 16; tensors whose gradient holds NaN: 3 of 3
#   lora: outputs that are NaN: 0 of 16; tensors whose gradient holds NaN: 0 of 2
# Ends with 0 while that is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys

import torch
from peft import LoraConfig, get_peft_model


def seen(use_dora):
    torch.manual_seed(0)
    base = torch.nn.Sequential(torch.nn.Linear(8, 16, bias=False))
    base[0].weight.data[3] = 0
    model = get_peft_model(base, LoraConfig(r=2, target_modules=["0"], use_dora=use_dora))
    out = model(torch.randn(4, 8))
    out.square().sum().backward()
    trained = [p for p in model.parameters() if p.requires_grad]
    return (int(out.isnan().any(0).sum()),
            sum(bool(p.grad.isnan().any()) for p in trained), len(trained))


results = {}
for name in ("dora", "lora"):
    outputs, gradients, count = results[name] = seen(name == "dora")
    print(f"{name}: outputs that are NaN: {outputs} of 16; "
          f"tensors whose gradient holds NaN: {gradients} of {count}")
sys.exit(0 if results == {"dora": (1, 3, 3), "lora": (0, 0, 2)} else 1)
PYTHON
