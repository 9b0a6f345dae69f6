"""Gemma's terms of use, for weights that come from no hub page where they were agreed to.

Gemma 4 is under the Apache licence, which asks nobody to agree.
"""

import time
from pathlib import Path
from typing import Any

from engine import atomic, guarded, user_dirs
from engine.gemma.shapes import Gemma
from engine.problems import Problem

URL = "https://ai.google.dev/gemma/terms"
POLICY = "https://ai.google.dev/gemma/prohibited_use_policy"
NOTICE = f"""\
Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.

terms   {URL}
policy  {POLICY}"""
TEXT = f"""\
Gemma is provided under and subject to the Gemma Terms of Use found at ai.google.dev/gemma/terms.

Read them, and the policy that they name, before you use Gemma 3:
  terms    {URL}
  policy   {POLICY}

Among other things, they say that Gemma must not be used for what the policy prohibits, and that who
passes on Gemma, or a model made of it such as an adapter, passes on these restrictions and a copy
of the terms, and marks what was changed."""
COMMAND = "gemma-bench terms --agree"
PROBLEM = Problem(
    key="terms",
    value="",
    reason="the model is a Gemma 3 under Gemma's terms of use, and nobody has agreed to them here",
    fix=f"Read {URL} and {POLICY}, then: {COMMAND}",
)
"""Not one of `model.path`, whose value is right."""


def are_missing(gemma: Gemma) -> bool:
    """Whether a model has terms that nobody agreed to yet."""
    return gemma.generation == 3 and not agreed_on()


def agreed_on() -> str:
    """When they were agreed to; empty where they weren't."""
    try:
        record: Any = guarded.json_document(_file())
        return str(record["agreed"]) if record["terms"] == URL else ""
    except (OSError, ValueError, KeyError, TypeError):
        return ""


def agree() -> Path:
    """Record that they are agreed to; gives the file. Raises `OSError`."""
    file = _file()
    file.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    now = time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime())
    atomic.write_json(file, {"terms": URL, "policy": POLICY, "agreed": now})
    return file


def _file() -> Path:
    return user_dirs.data() / "gemma-terms.json"
