"""Whether torch, bitsandbytes and Triton can use a GPU, tried once for each of their versions."""

import contextlib
import platform
from dataclasses import asdict, dataclass
from pathlib import Path

from engine import guarded, installed, user_dirs
from engine.atomic import write_json
from engine.hardware import nvml, probe_process, visible_card
from engine.hardware.profiles import Profile
from engine.problems import Refusal

DEADLINE_S = 120.0
ANSWERS_FILE = "card_probe.json"
"""In the user's cache."""
_PACKAGES = ("torch", "bitsandbytes", "triton")
_DRIVER_OF_CUDA = {"13": "580", "12": "525", "11": "450"}
"""NVIDIA's least driver on Linux by CUDA's major version (CUDA Toolkit Release Notes, table 2)."""
_WHEELS = "https://download.pytorch.org/whl/cu126"
"""PyTorch's own index; CUDA 12.6 runs on every driver from 525 on."""


@dataclass(frozen=True, slots=True)
class CardAnswer:
    """What the probe came to; an error is empty where that part works."""

    torch: str = ""
    cuda: str = ""
    """The version that torch is built for; empty where it is built for the CPU only."""
    product: str = ""
    nf4: str = ""
    triton: str = ""
    cards: int = 1
    """That a run would see."""


def key_of(profile: Profile) -> str:
    """What an answer holds for: driver or macOS, card and versions."""
    of_system = platform.mac_ver()[0] if profile.device == "mps" else driver()
    card = profile.visible_as or profile.device
    return " ".join((of_system, card, *map(installed.version, _PACKAGES)))


def answer_of(profile: Profile) -> CardAnswer:
    """The answer for a card, from the user's cache where the same was tried before."""
    key, path = key_of(profile), user_dirs.cache() / ANSWERS_FILE
    answers = _read_answers(path)
    if key in answers:
        return answers[key]
    answer = _tried(profile)
    if not answer.product:
        # What fails is tried again: it may have been mended, or the card been full.
        with contextlib.suppress(OSError):
            path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
            answers[key] = answer
            write_json(path, {of: asdict(one) for of, one in answers.items()})
    return answer


def require_usable(profile: Profile, *, needs_nf4: bool) -> CardAnswer:
    """The answer for a card that a run may use. Raises `Refusal` where torch can't use it."""
    answer = answer_of(profile)
    require(answer, profile, driver(), needs_nf4=needs_nf4)
    return answer


def require(answer: CardAnswer, profile: Profile, driver: str, *, needs_nf4: bool) -> None:
    """Raises `Refusal` where an answer says that a run can't do with the card."""
    if answer.product:
        raise Refusal.of("--hardware", *_reason_and_fix(answer, profile, driver))
    if needs_nf4 and answer.nf4:
        reason = f"bitsandbytes can't store weights in NF4 on {profile.title}: {answer.nf4}"
        fix = "pip install --force-reinstall bitsandbytes, or set model.quantization = none"
        raise Refusal.of("model.quantization", reason, fix)


def _reason_and_fix(answer: CardAnswer, profile: Profile, driver: str) -> tuple[str, str]:
    here = f"this machine has {profile.title}"
    on_cpu = "or train on the processor: --hardware cpu"
    if profile.device == "mps":
        mend = f"PyTorch computes in bfloat16 there from macOS 14 on: update macOS, {on_cpu}"
        return f"{here}, but torch {answer.torch} can't compute on it: {answer.product}", mend
    if not answer.cuda and answer.torch:
        mend = f"pip install --force-reinstall torch --index-url {_WHEELS}, {on_cpu}"
        return f"{here}, but torch {answer.torch} is built for the CPU only", mend
    least = _DRIVER_OF_CUDA.get(answer.cuda.partition(".")[0], "")
    if "driver" in answer.product.lower() and least:
        reason = f"{here}, but its driver {driver} is too old for torch's CUDA {answer.cuda}"
        mend = f"Install NVIDIA's driver {least} or newer, or a torch for an older CUDA: "
        return reason, f"{mend}pip install --force-reinstall torch --index-url {_WHEELS}, {on_cpu}"
    reason = f"{here}, but torch {answer.torch} can't compute on it: {answer.product}"
    return reason, f"gemma-bench doctor says more; {on_cpu}"


def _tried(profile: Profile) -> CardAnswer:
    arguments = "-m", "engine.kernels.probe", profile.device
    visible = visible_card.only(profile.visible_as or visible_card.first())
    try:
        return CardAnswer(
            **probe_process.answer(*arguments, deadline_s=DEADLINE_S, variables=visible)
        )
    except TimeoutError as error:
        return CardAnswer(product=f"it {error}")
    except (RuntimeError, TypeError) as error:
        return CardAnswer(product=str(error))


def _read_answers(path: Path) -> dict[str, CardAnswer]:
    try:
        document = guarded.json_document(path)
        return {key: CardAnswer(**answer) for key, answer in document.items()}
    except (OSError, ValueError, TypeError, AttributeError):
        return {}


def driver() -> str:
    """The NVIDIA driver's version; "of unknown version" where it doesn't tell."""
    return nvml.driver_version("of unknown version")
