"""What to do with a run's adapter: lines to be typed, or copied into a program."""

from engine import guarded
from engine.run import adapters
from engine.run.rundir import RunDir


def use_it(run: RunDir) -> list[str]:
    """Talk with it, and load it in PEFT; none where the run has left no adapter."""
    try:
        config = guarded.json_document(run.adapter / adapters.CONFIG)
        base = str(config["base_model_name_or_path"])
    except (OSError, ValueError, KeyError, TypeError):
        return []
    return [
        "use it",
        f"  gemma-bench talk {run.argument} --both",
        "  or in Python",
        *(f"    {line}" for line in in_python(str(run.adapter.resolve()), base)),
    ]


def in_python(adapter: str, base: str) -> list[str]:
    """A program that answers a question with an adapter on its base."""
    return [
        "from peft import AutoPeftModelForCausalLM",
        "from transformers import AutoTokenizer, pipeline",
        f'model = AutoPeftModelForCausalLM.from_pretrained({adapter!r}, dtype="auto")',
        f'chat = pipeline("text-generation", model, tokenizer=AutoTokenizer.from_pretrained({base!r}))',  # noqa: E501
        'print(chat([{"role": "user", "content": "Hello!"}])[0]["generated_text"][-1]["content"])',
    ]
