#!/usr/bin/env bash
# transformers' Trainer lets DoRA's magnitudes decay, which are the lengths of the base's own rows.
#
# Versions: transformers 5.23.0, peft 0.21.2, accelerate 1.15.0, torch 2.13.0, Python 3.11.
# Trainer leaves biases and norms out of weight decay, by name and by class. DoRA's
# `lora_magnitude_vector` is neither, so it is in the group that decays. It starts as the norm of each
# row of the frozen weight: with decay, a run shrinks the pretrained model itself, even where no gradient
# asks for it. At a rate of 1e-2 and a decay of 0.1, 100 steps without any gradient leave 0.905 of it.
#
# Seen:
#   groups that hold magnitudes: weight_decay 0.1
#   magnitude after 100 steps of zero gradients: 0.905 of what it was
# Ends with 0 while that is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2 accelerate==1.15.0
cd "$folder"
"$folder/venv/bin/python" - <<'PYTHON' 2>&1 | grep -v Warning
import sys

import torch
from peft import LoraConfig, get_peft_model
from transformers import Gemma3ForCausalLM, Gemma3TextConfig, Trainer, TrainingArguments

config = Gemma3TextConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=2, num_key_value_heads=1, head_dim=16)
torch.manual_seed(0)
model = get_peft_model(Gemma3ForCausalLM(config), LoraConfig(
    r=4, use_dora=True, target_modules=["q_proj", "v_proj"], task_type="CAUSAL_LM"))
trainer = Trainer(model, TrainingArguments("out", weight_decay=0.1, learning_rate=1e-2,
                                           report_to=[], use_cpu=True))
optimizer = trainer.create_optimizer()
magnitudes = {id(p): p for n, p in model.named_parameters() if "lora_magnitude_vector" in n}
decays = {g["weight_decay"] for g in optimizer.param_groups for p in g["params"]
          if id(p) in magnitudes}
print("groups that hold magnitudes: weight_decay", *sorted(decays))
before = {key: p.detach().clone() for key, p in magnitudes.items()}
for _ in range(100):
    for group in optimizer.param_groups:
        for p in group["params"]:
            p.grad = torch.zeros_like(p)
    optimizer.step()
share = min(float((p / before[key]).min()) for key, p in magnitudes.items())
print(f"magnitude after 100 steps of zero gradients: {share:.3f} of what it was")
sys.exit(0 if decays == {0.1} and abs(share - 0.905) < 2e-3 else 1)
PYTHON
exit "${PIPESTATUS[0]}"
