"""Runs of real shapes on this machine's card: `python bench/gpu_train.py [CASE...] [--on PROFILE]`.

Each case is `gemma-bench --run` on a checkpoint of holes (nothing is downloaded), measured by the
run's own events: the most memory allocated, its forecast, and tokens a second. Beside it TRL's
SFTTrainer with its defaults on the same rows, in a process of its own, where the model fits so.
Written to bench/results with card and versions. It has not been run on a GPU yet.
"""

import argparse
import json
import statistics
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[1]
sys.path[:0] = [str(ROOT), str(ROOT / "bench")]

import hollow  # noqa: E402

ATTENTION = ["q_proj", "k_proj", "v_proj", "o_proj"]
ALL = [*ATTENTION, "gate_proj", "up_proj", "down_proj"]
STEPS = 8
WARMED_UP = 3
"""Steps that are left out of the tokens a second."""


@dataclass(frozen=True)
class StepShape:
    """A shape, the length of its only row in a batch, and the memory it should stay below."""

    model: str
    length: int
    most_gib: float | None = None
    targets: tuple[str, ...] = tuple(ALL)
    quantization: str = "nf4"
    host_tables: bool = False
    has_stock: bool = True


CASES = {
    "270m": StepShape("gemma-3-270m", 1024, quantization="none"),
    "1b": StepShape("gemma-3-1b", 1024),
    "e2b": StepShape("gemma-4-e2b", 1024, 2.6, host_tables=True),
    "e4b": StepShape("gemma-4-e4b", 1024, 4.4, host_tables=True),
    "26b-a4b": StepShape("gemma-4-26b-a4b", 512, 15.5, tuple(ATTENTION), has_stock=False),
    "31b": StepShape("gemma-4-31b", 1024, 18.5, has_stock=False),
}


def main() -> int:
    """Run the cases and write what was found; 1 where one failed or went over its memory."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("cases", nargs="*", choices=[[], *CASES], metavar="CASE")
    parser.add_argument("--on", default="auto", help="hardware profile")
    parser.add_argument("--length", type=int, help="tokens of a row, other than the case's")
    options = parser.parse_args()
    records = []
    for name in options.cases or CASES:
        with tempfile.TemporaryDirectory(prefix="gemma-bench-") as folder:
            case = CASES[name]
            found = measured(case, Path(folder), options.on, options.length or case.length)
        records.append({"case": name, **found})
        print(json.dumps(records[-1]), flush=True)
    results = ROOT / "bench" / "results"
    results.mkdir(exist_ok=True)
    machine = records[-1]["hardware"].replace(" ", "-").lower()
    (results / f"gpu_train-{machine}.json").write_text(json.dumps(records, indent=1))
    return 0 if all(record.get("is_met", True) for record in records) else 1


def measured(case: StepShape, folder: Path, profile: str, length: int) -> dict[str, Any]:
    """The engine's run, and TRL's beside it."""
    model = folder / "model"
    model.mkdir()
    hollow.make(case.model, model)
    rows = folder / "rows.jsonl"
    with rows.open("w") as file:
        for number in range(STEPS):
            said = " ".join(f"{number + word}" for word in range(length))
            talk = [{"role": "user", "content": "Count."}, {"role": "assistant", "content": said}]
            file.write(json.dumps({"messages": talk}) + "\n")
    found = engine_run(case, folder, profile, length)
    if case.most_gib is not None and found["hardware"] != "cpu":
        found |= {"most_gib": case.most_gib, "is_met": found["allocated_gib"] <= case.most_gib}
    if case.has_stock:
        found["stock"] = stock_run(case, folder, length)
    return found


def engine_run(case: StepShape, folder: Path, profile: str, length: int) -> dict[str, Any]:
    """What the events of a run tell."""
    recipe = folder / "recipe.toml"
    recipe.write_text(
        f'model = {{ path = "model", quantization = "{case.quantization}",'
        f" host_tables = {str(case.host_tables).lower()} }}\n"
        f"adapter = {{ target_modules = {json.dumps(case.targets)} }}\n"
        f'data = {{ sources = [{{ path = "rows.jsonl" }}], max_length = {length} }}\n'
        f"training = {{ per_device_train_batch_size = 1, max_steps = {STEPS},"
        f' optim = "{"adamw_torch" if profile == "cpu" else "adamw_8bit"}" }}\n'
    )
    command = [sys.executable, "-m", "workbench.cli", "--run", str(recipe), "--anyway"]
    out = folder / "run"
    done = subprocess.run(
        [*command, "--hardware", profile, "--out", str(out)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        raise SystemExit(f"{case.model}: exit code {done.returncode}\n{done.stderr}{done.stdout}")
    events = [json.loads(line) for line in (out / "events.jsonl").read_text().splitlines()]
    request = json.loads((out / "request.json").read_text())
    plan = json.loads((out / "plan.json").read_text())
    memory = next((event for event in events if event["kind"] == "memory"), {})
    steps = [event for event in events if event["kind"] == "step"][WARMED_UP:]
    return {
        "model": case.model,
        "length": length,
        "hardware": request["hardware"]["name"],
        "versions": plan["versions"],
        **{key: value for key, value in memory.items() if key.endswith("_gib")},
        "allocated_gib": memory.get("allocated_gib"),
        "tokens_per_s": statistics.median(step["tokens_per_s"] for step in steps),
    }


def stock_run(case: StepShape, folder: Path, length: int) -> dict[str, Any]:
    """TRL's own, or the last line of why it could not."""
    given = json.dumps([str(folder), case.quantization, list(case.targets), length, STEPS])
    done = subprocess.run(
        [sys.executable, str(ROOT / "bench" / "stock_trl.py"), given],
        capture_output=True,
        text=True,
        check=False,
    )
    if done.returncode:
        return {"failed": done.stderr.strip().splitlines()[-1][:300]}
    found: dict[str, Any] = json.loads(done.stdout.splitlines()[-1])
    return found


if __name__ == "__main__":
    sys.exit(main())
