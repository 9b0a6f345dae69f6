"""The wish to let a run go on, whichever screen it comes from."""

from textual.message import Message

from engine.run import checkpoint_manifest
from engine.run.rundir import RunDir, State


class ResumeWanted(Message):
    """The user wants a run that ended early to go on."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run


def why_not(run: RunDir, state: State) -> str:
    """Why a run can't go on; empty where it may, for its checkpoints are not read through here."""
    if state.is_alive:
        return "It is at work"
    if state.name == "done":
        return "It is done: nothing is left of it"
    return "" if checkpoint_manifest.folders(run) else "It has no checkpoint to go on from"
