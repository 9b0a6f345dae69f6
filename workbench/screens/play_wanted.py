"""The wish to play with a run's adapter, whichever screen it comes from."""

from textual.message import Message

from engine.run import adapters
from engine.run.rundir import RunDir

NONE_YET = "It has no checkpoint yet: save one first, or wait for its end"


class PlayWanted(Message):
    """The user wants to talk with a run's adapter."""

    def __init__(self, run: RunDir) -> None:
        super().__init__()
        self.run = run


def why_not(run: RunDir) -> str:
    """Why a run can't be played with now; empty where it can."""
    return "" if adapters.newest(run) else NONE_YET
