#!/usr/bin/env bash
# PEFT's LoRA+ optimizer takes `weight_decay` and trains without any.
#
# Versions: peft 0.21.2, torch 2.13.0, transformers 5.23.0, Python 3.11.
# `create_loraplus_optimizer(model, AdamW, lr=..., weight_decay=0.1)` hands the keyword on to the
# optimizer as its default, but gives each of its groups a `weight_decay` of its own: that of another
# keyword, `loraplus_weight_decay`, which is 0.0 where it isn't named. Nothing warns.
#
# Seen:
#   weight_decay=0.1 -> groups with parameters have 0.0, the optimizer's default says 0.1
#   loraplus_weight_decay=0.1 -> groups with parameters have 0.1
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
from peft.optimizers import create_loraplus_optimizer

torch.manual_seed(0)
base = torch.nn.Sequential(torch.nn.Linear(8, 8), torch.nn.Linear(8, 8))
model = get_peft_model(base, LoraConfig(r=2, target_modules=["0", "1"]))


def decays(**settings):
    optimizer = create_loraplus_optimizer(
        model, torch.optim.AdamW, lr=1e-4, loraplus_lr_ratio=16, **settings)
    groups = {group["weight_decay"] for group in optimizer.param_groups if group["params"]}
    return groups, optimizer.defaults["weight_decay"]


groups, default = decays(weight_decay=0.1)
print(f"weight_decay=0.1 -> groups with parameters have {max(groups)}, "
      f"the optimizer's default says {default}")
own, _ = decays(loraplus_weight_decay=0.1)
print("loraplus_weight_decay=0.1 -> groups with parameters have", *own)
sys.exit(0 if groups == {0.0} and default == 0.1 and own == {0.1} else 1)
PYTHON
