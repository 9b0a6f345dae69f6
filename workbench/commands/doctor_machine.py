"""What of this machine a run would stumble over: its card, this folder, the user's own folders."""

import tempfile
from collections.abc import Iterator
from pathlib import Path

from engine import atomic, user_dirs
from engine.budget import calibration
from engine.hardware import card_probe, kernel_choice, nvml, profiles, torch_probe
from engine.hardware.card_probe import CardAnswer
from engine.hardware.gpu import Absence
from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.run import lock
from engine.run.rundir import RUNS
from engine.sessions.doctor_report import Finding

_CARD = "the card is one that torch can use"
_NVIDIA_NODE = "nvidiactl"
"""Made by NVIDIA's driver; a machine has it only where it has such a card."""
_MOST_SHARE_OF_OTHERS = 0.25
"""Of the card's memory. A desktop holds less; what holds more is worth ending before a run."""


def findings(nodes: Path = torch_probe.NODES) -> Iterator[Finding]:
    """Each as it is known; `nodes` is where the kernel keeps its device files."""
    profile = profiles.detect(nodes)
    if profile.device != "cpu":
        yield from of_card(profile, card_probe.answer_of(profile))
    elif (nodes / _NVIDIA_NODE).exists():
        yield from _of_silent_driver(profile)
    folder = RUNS if RUNS.is_dir() else Path()
    yield _of_locks(folder)
    yield _of_flushes(folder)
    yield _of_own_folders()
    fault = calibration.problem()
    yield _finding(
        "measurements of cards can be read",
        fault and f"{fault}. Forecasts do without: remove it, and the next run measures anew",
    )


def of_card(profile: Profile, answer: CardAnswer) -> Iterator[Finding]:
    """Whether torch, bitsandbytes and Triton can use a card, alone, and with room on it.

    On Apple's GPUs a run uses torch alone; there is one, and its memory is the host's.
    """
    try:
        card_probe.require(answer, profile, card_probe.driver(), needs_nf4=True)
    except Refusal as refusal:
        advice = ". ".join(f"{one.reason}. {one.fix}" for one in refusal.problems)
        yield _finding(_CARD, advice)
    else:
        yield _finding(_CARD)
    if answer.product or profile.device == "mps":
        return
    fix = kernel_choice.triton_fix(answer.triton)
    yield _finding(
        "Triton builds kernels for the card",
        answer.triton and f"{answer.triton}. Runs take the engine's own head instead. {fix}",
    )
    crowd = f"a run would see {answer.cards} cards. Set CUDA_VISIBLE_DEVICES to one of them"
    yield Finding(
        "a run sees one card", answer.cards == 1, float(answer.cards), 1.0,
        profile.reason if answer.cards == 1 else crowd,
    )  # fmt: skip
    yield _of_free_memory(profile)


def _of_free_memory(profile: Profile) -> Finding:
    share = 1 - profile.usable_gib / (profile.memory_gib * profile.usable_share)
    return Finding(
        "memory of the card is free", share <= _MOST_SHARE_OF_OTHERS, share, _MOST_SHARE_OF_OTHERS,
        profile.memory_of_others and f"{profile.memory_of_others}. "
        "End it, or take a smaller recipe: gemma-bench budget says what fits",
    )  # fmt: skip


def _of_silent_driver(profile: Profile) -> Iterator[Finding]:
    """Of a card that nothing can reach, so that runs would go to the processor without a word."""
    gpu = nvml.find()
    if isinstance(gpu, Absence) and not gpu.is_final:
        mend = "Start the machine anew where the driver was renewed, else install NVIDIA's driver"
        yield _finding(_CARD, f"there is an NVIDIA card, but runs take the CPU: {profile.reason}. "
                              f"{mend}; nvidia-smi says more")  # fmt: skip


def _of_locks(folder: Path) -> Finding:
    name = "runs can be made in this folder"
    elsewhere = "Start from a folder on another disk, or name one with --out"
    try:
        with tempfile.NamedTemporaryFile(prefix=".gemma-bench-", dir=folder) as file:
            lock.require(Path(file.name))
    except OSError as error:
        return _finding(name, f"{folder.absolute()}: {error.strerror or error}. {elsewhere}")
    return _finding(name)


def _of_flushes(folder: Path) -> Finding:
    """A disk that fails to flush fails; where folders can't be flushed at all runs work, less safe
    from a power failure, which is remarked."""
    name = "names in this folder reach the disk"
    lost = (
        "A checkpoint may be lost where the power fails. Name a folder on another disk with --out"
    )
    try:
        is_flushed = atomic.sync_folder(folder)
    except OSError as error:
        return _finding(name, f"{folder.absolute()}: {error.strerror or error}. {lost}")
    remark = f"{folder.absolute()}: its file system flushes no folders. {lost}"
    return Finding(name, True, 0.0, 0.0, "" if is_flushed else remark)


def _of_own_folders() -> Finding:
    errors = dict[str, None]()
    for folder in (user_dirs.data(), user_dirs.state(), user_dirs.cache()):
        place = next(path for path in (folder, *folder.parents) if path.exists())
        try:
            with tempfile.NamedTemporaryFile(dir=place):
                pass
        except OSError as error:
            errors[f"{folder}: {error.strerror or error}"] = None
    mend = "Findings, measurements and prepared rows are made anew each time. Set XDG_DATA_HOME, "
    mend += "XDG_STATE_HOME and XDG_CACHE_HOME to folders you may write to"
    return _finding(
        "the user's own folders can be written", errors and f"{', '.join(errors)}. {mend}"
    )


def _finding(name: str, fault: object = "") -> Finding:
    return Finding(name, not fault, float(bool(fault)), 0.0, str(fault or ""))
