"""A run that ended before its last step goes on from its newest checkpoint that is whole."""

from engine.run import checkpoint_manifest, failpoint
from engine.run.checkpoint_manifest import Checkpoint
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.request import Request
from engine.run.rundir import RunDir
from engine.train import determinism, planning
from engine.train.run import train_run


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Go on up to the done event. Raises `Refusal` where no checkpoint is whole."""
    start, rejected = checkpoint_manifest.require_newest(run)
    request = run.read_request()
    parent = planning.parent(request, start)
    exactness = _exactness(request, start) if parent is None else "with what was changed since"
    failpoint.reached("resume.verified")
    log.append(checkpoint_manifest.resumed(run, start, rejected, exactness, parent))
    failpoint.reached("resume.told")
    train_run(run, log, control, start)


def _exactness(request: Request, start: Checkpoint) -> str:
    was, now = start.facts.get("arithmetic"), determinism.last_bits(request.hardware.device)
    if was != now:
        return f"but for rounding: {was} became {now}"
    if request.hardware.device == "cpu":
        return "to the bit: a CPU repeats its sums"
    if request.recipe.training.deterministic:
        return "to the bit: deterministic algorithms on the same card"
    return "but for the order of a GPU's sums, which training.deterministic settles"
