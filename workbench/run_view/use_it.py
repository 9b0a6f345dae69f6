"""What to do with a run's adapter: lines to be typed, or copied into a program."""

from collections.abc import Iterable

from engine import guarded
from engine.events import Warned
from engine.run import adapters
from engine.run.rundir import RunDir

_TEMPLATE_DIFFERS = "template_differs"
_OTHER_TEMPLATE = "(with the model's own template, which writes otherwise than the one trained on)"


def use_it(run: RunDir, warnings: Iterable[Warned] = ()) -> list[str]:
    """Talk with it, load it in PEFT, export it; none where the run has left no adapter.

    `warnings` are the run's: one may say that Python's prompts are not those trained on.
    """
    base = _base(run)
    if base is None:
        return []
    differs = any(warning.code == _TEMPLATE_DIFFERS for warning in warnings)
    return [
        "use it",
        f"  gemma-bench talk {run.argument} --both",
        f"  or in Python {_OTHER_TEMPLATE if differs else ''}".rstrip(),
        *(f"    {line}" for line in in_python(str(run.adapter.resolve()), base)),
        "  or as one model that needs no PEFT, in the number format of its base",
        f"    gemma-bench export {run.argument} --as merged",
    ]


def program(run: RunDir) -> str:
    """The lines in Python, to be copied; empty where the run has left no adapter."""
    base = _base(run)
    return "" if base is None else "\n".join(in_python(str(run.adapter.resolve()), base)) + "\n"


def _base(run: RunDir) -> str | None:
    try:
        config = guarded.json_document(run.adapter / adapters.CONFIG)
        return str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return None


def in_python(adapter: str, base: str) -> list[str]:
    """A program that answers a question with an adapter on its base."""
    return [
        "from peft import AutoPeftModelForCausalLM",
        "from transformers import AutoTokenizer, pipeline",
        f'model = AutoPeftModelForCausalLM.from_pretrained({adapter!r}, dtype="auto")',
        f'chat = pipeline("text-generation", model, tokenizer=AutoTokenizer.from_pretrained({base!r}))',  # noqa: E501
        'print(chat([{"role": "user", "content": "Hello!"}])[0]["generated_text"][-1]["content"])',
    ]
