"""A merge beside PEFT's: `python bench/export.py [PAIRS]`.

The same adapter on the same base of random weights in bfloat16, as large as Gemma 3 1B, merged by
the engine and by PEFT's `merge_and_unload` with `save_pretrained`, each in a process of its own and
in turns. Time is that of the work without imports, loading and flushing included; a processor's
tells more on a busy machine. Memory is the process's peak, with what its imports take. The engine's
proof is left out, since PEFT has none.
"""

import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT))
MIB = 1 << 20


class Side(NamedTuple):
    """What one merge took."""

    seconds: float
    processor_s: float
    peak_mib: float


def main(pairs: int = 3) -> None:
    """Print medians, and the ratios of pairs."""
    measured: dict[str, list[Side]] = {"engine": [], "peft": []}
    with tempfile.TemporaryDirectory(prefix="gemma-bench-") as folder:
        _child("make", folder)
        size = (Path(folder) / "base/model.safetensors").stat().st_size / MIB
        for number in range(pairs):
            for side in ("engine", "peft") if number % 2 else ("peft", "engine"):
                measured[side].append(Side(*map(float, _child(side, folder).split()[-3:])))
    print(f"weights of {size:.0f} MiB, medians of {pairs} pairs")
    for place, what in enumerate(("seconds", "seconds of a processor", "MiB at most")):
        ours, theirs = ([side[place] for side in sides] for sides in measured.values())
        ratios = sorted(mine / other for mine, other in zip(ours, theirs, strict=True))
        print(
            f"{what}: {statistics.median(ours):,.1f} beside {statistics.median(theirs):,.1f}, "
            f"{statistics.median(ratios):.2f}x ({ratios[0]:.2f} to {ratios[-1]:.2f})"
        )


def _child(side: str, folder: str) -> str:
    command = [sys.executable, __file__, f"--{side}", folder]
    environment = {**os.environ, "HF_HUB_OFFLINE": "1", "TORCHDYNAMO_DISABLE": "1"}
    done = subprocess.run(command, env=environment, stdout=subprocess.PIPE, check=True)
    return done.stdout.decode()


def make(folder: Path) -> None:
    """A base of random weights, and a run of it that left an adapter."""
    import torch
    from transformers import Gemma3ForCausalLM, Gemma3TextConfig

    from engine.doctor import tiny_models
    from engine.gemma import catalog
    from tests import adapted_runs

    config = Gemma3TextConfig(**catalog.config_of("gemma-3-1b"))
    torch.set_default_dtype(torch.bfloat16)
    torch.nn.init.normal_ = torch.nn.init.trunc_normal_ = lambda tensor, *_, **__: tensor
    model = Gemma3ForCausalLM(config)
    for parameter in model.parameters():
        parameter.data = (
            torch.randn(4096)
            .repeat(-(-parameter.numel() // 4096))[: parameter.numel()]
            .view(parameter.shape)
            / 32
        )
    torch.set_default_dtype(torch.float32)
    tiny_models.saved(model, tiny_models.gemma3_tokenizer(), folder / "base", stops=[1, 106])
    adapted_runs.left(folder, str(folder / "base"), dtype="bfloat16")


def engine(run_folder: Path, base: Path, out: Path) -> Side:
    """The engine's export."""
    from engine.export import base_files, merged_form, proof
    from engine.export.export import Export
    from engine.run import adapters
    from engine.run.event_log import EventLog
    from engine.run.rundir import RunDir
    from engine.sessions.export_order import Form

    proof.prove = lambda *_: {"made": False, "why_not": "PEFT has none"}
    run = RunDir(run_folder)
    began, busy = time.perf_counter(), time.process_time()
    request = run.read_request()
    named, log = base_files.of(request.recipe.model), EventLog(run)
    adapter = adapters.find(run, "")
    merged_form.write(
        Export(run, request, adapter, named, Form.MERGED, out, "BF16", log, lambda: None)
    )
    return Side(time.perf_counter() - began, time.process_time() - busy, _peak_mib())


def peft(run_folder: Path, base: Path, out: Path) -> Side:
    """PEFT's merge, saved by transformers."""
    import torch
    from peft import PeftModel
    from transformers import AutoModelForCausalLM, AutoTokenizer

    began, busy = time.perf_counter(), time.process_time()
    model = AutoModelForCausalLM.from_pretrained(base, dtype=torch.bfloat16)
    merged = PeftModel.from_pretrained(model, run_folder / "adapter").merge_and_unload()
    merged.save_pretrained(out)
    AutoTokenizer.from_pretrained(base).save_pretrained(out)
    return Side(time.perf_counter() - began, time.process_time() - busy, _peak_mib())


def _peak_mib() -> float:
    """Of this process, by Linux; what it inherited by getrusage is not its own."""
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) / 1024 for line in lines if line.startswith("VmHWM"))


if __name__ == "__main__":
    if sys.argv[1:2] == ["--make"]:
        make(Path(sys.argv[2]))
    elif sys.argv[1:2] in (["--engine"], ["--peft"]):
        place, measure = Path(sys.argv[2]), {"--engine": engine, "--peft": peft}[sys.argv[1]]
        with tempfile.TemporaryDirectory(dir=place) as parent:
            print(*measure(place / "a run of mine", place / "base", Path(parent) / "out"))
    else:
        main(*map(int, sys.argv[1:]))
