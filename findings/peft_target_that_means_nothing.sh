#!/usr/bin/env bash
# PEFT says nothing of an entry in target_modules that matches no module, where another entry does.
#
# Versions: peft 0.21.2, transformers 5.23.0, torch 2.13.0, Python 3.11.
# Gemma 4's mixture of experts holds its experts as stacked parameters named `gate_up_proj`, not as
# modules. `target_modules=["q_proj", "gate_up_proj"]` trains q_proj alone, without an error or a
# warning; only where no entry at all matches is there a ValueError.
#
# Seen:
#   ["q_proj", "gate_up_proj"]: adapted q_proj, warnings 0
#   ["gate_up_proj"]: ValueError
# Ends with 0 while that is so, with 1 once it has changed.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 transformers==5.23.0 peft==0.21.2
"$folder/venv/bin/python" - <<'PYTHON'
import sys
import warnings

from peft import LoraConfig, get_peft_model
from transformers import Gemma3ForCausalLM, Gemma3TextConfig

config = Gemma3TextConfig(vocab_size=64, hidden_size=32, intermediate_size=64, num_hidden_layers=2,
                          num_attention_heads=2, num_key_value_heads=1, head_dim=16)


def adapted(*targets):
    model = Gemma3ForCausalLM(config)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        model = get_peft_model(model, LoraConfig(r=2, target_modules=list(targets)))
    names = {n.split(".lora_")[0].rsplit(".", 1)[1] for n, _ in model.named_parameters()
             if "lora_" in n}
    return names, len([w for w in caught if "gate_up_proj" in str(w.message)])


names, told = adapted("q_proj", "gate_up_proj")
print(f'["q_proj", "gate_up_proj"]: adapted {", ".join(sorted(names))}, warnings {told}')
try:
    adapted("gate_up_proj")
    alone = "no error"
except ValueError:
    alone = "ValueError"
print(f'["gate_up_proj"]: {alone}')
sys.exit(0 if names == {"q_proj"} and told == 0 and alone == "ValueError" else 1)
PYTHON
