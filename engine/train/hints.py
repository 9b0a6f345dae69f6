"""What a user can do about an error that ended a run."""

import errno

from engine.problems import Refusal
from engine.run.control import StoppedEarly
from engine.train.hooks.save_checkpoints import NotSaved
from engine.train.loss_guards import NotFinite
from engine.train.out_of_memory import is_one

_DISK = "Free space on the disk of the run directory and start again"
_UNKNOWN = "The log's last lines tell where it happened"


def hint(error: BaseException) -> str:
    """One sentence of advice."""
    if isinstance(error, Refusal):
        return " ".join(problem.fix for problem in error.problems)
    if isinstance(error, StoppedEarly):
        return "No step was taken; start it again when you like"
    if isinstance(error, NotSaved):
        return "Free space on the disk of the run, and go on: gemma-bench resume RUN"
    if is_one(error):
        return (
            "Out of memory: lower per_device_train_batch_size and raise "
            "gradient_accumulation_steps, lower data.max_length, or set "
            "training.gradient_checkpointing = true, model.quantization = nf4, or with E2B and E4B "
            "model.host_tables = true"
        )
    if isinstance(error, NotFinite):
        return "The weights were left as they were; lower training.learning_rate, or use bfloat16"
    if isinstance(error, OSError) and error.errno == errno.ENOSPC:
        return _DISK
    if "inline_container" in str(error):
        return _DISK
    if "gated repo" in str(error).lower():
        return "Accept the model's licence on its hub page, then run: hf auth login"
    if "Can't load" in str(error) or "couldn't connect" in str(error).lower():
        return "Check model.path and the network, or download the model and give its folder"
    return _UNKNOWN
