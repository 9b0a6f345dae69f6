#!/usr/bin/env bash
# torch on a CPU with AMX: ATEN_CPU_CAPABILITY=avx2 makes attention in bfloat16 raise from 64 tokens on.
#
# Versions: torch 2.13.0, Python 3.11, on a processor with AMX (Sapphire Rapids and later).
# ATEN_CPU_CAPABILITY is torch's own variable to choose the kernels it dispatches to, as one does to get the same
# numbers on several machines. `scaled_dot_product_attention` asks oneDNN, which heeds another variable, whether it may
# pack keys and values for AMX; it may, and then the packing of torch's AVX2 or default build raises. Below
# 64 tokens nothing is packed, so short inputs work. float32 works, and so does bfloat16 with
# DNNL_MAX_CPU_ISA=AVX512_CORE_FP16, which keeps oneDNN from AMX.
#
# Seen:
#   ATEN_CPU_CAPABILITY=avx2: 63 tokens: right
#   ATEN_CPU_CAPABILITY=avx2: 64 tokens: pack_vnni2 is only supported when avx512 is supported
#   ATEN_CPU_CAPABILITY=avx2 DNNL_MAX_CPU_ISA=AVX512_CORE_FP16: 64 tokens: right
# Ends with 0 while that is so, with 1 once it has changed, with 2 where the processor has no AMX.
set -euo pipefail
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT
python3 -m venv "$folder/venv"
"$folder/venv/bin/pip" install --quiet torch==2.13.0 numpy
cat >"$folder/attend.py" <<'PYTHON'
import os
import sys

import torch

if not torch.cpu.get_capabilities().get("amx_tile"):
    sys.exit("this processor has no AMX")
variables = " ".join(f"{name}={os.environ[name]}" for name in ("ATEN_CPU_CAPABILITY", "DNNL_MAX_CPU_ISA")
                     if name in os.environ)
for count in map(int, sys.argv[1:]):
    torch.manual_seed(0)
    q, k, v = torch.randn(3, 1, 4, count, 64).bfloat16()
    try:
        out = torch.nn.functional.scaled_dot_product_attention(q, k, v).float()
    except RuntimeError as error:
        print(f"{variables}: {count} tokens: {error}")
        continue
    exact = torch.nn.functional.scaled_dot_product_attention(q.float(), k.float(), v.float())
    is_right = bool((out - exact).norm() / exact.norm() < 1e-2)
    print(f"{variables}: {count} tokens: {'right' if is_right else 'wrong'}")
PYTHON
attend() { "$folder/venv/bin/python" "$folder/attend.py" "$@" || exit 2; }
unset DNNL_MAX_CPU_ISA
export ATEN_CPU_CAPABILITY=avx2
seen=$(attend 63 64; DNNL_MAX_CPU_ISA=AVX512_CORE_FP16 attend 64)
echo "$seen"
[ "$seen" = "$(sed -n 's/^#   //p' "$0")" ]
