"""`gemma-bench hardware`: the hardware profiles, and what this machine is, as a table or JSON."""

from argparse import ArgumentParser, Namespace

from engine.hardware import profiles
from engine.hardware.profiles import AUTO, Profile
from engine.problems import ExitCode
from workbench.commands import options
from workbench.text import text_table
from workbench.text.sanitize import as_json

EXAMPLES = """\
  gemma-bench hardware                       cards by their memory, this machine first
  gemma-bench hardware --json | jq -r 'select(.usable_gib > 20).name'"""


def add_arguments(parser: ArgumentParser) -> None:
    """A table for people, or JSON."""
    options.add_json(parser, "one JSON object per profile")


def run(arguments: Namespace) -> int:
    """Print them, and why this machine is taken for what it is."""
    every = [profiles.profile(name) for name in profiles.names()]
    if arguments.json:
        for profile in every:
            print(as_json(profile.as_dict() | {"usable_gib": round(profile.usable_gib, 3)}))
        return ExitCode.DONE
    names = ("name", "GiB", "usable", "bfloat16", "GB/s", "TFLOP/s", "what it is")
    text_table.say(names, list(map(_cells, every)))
    here = every[0]
    print(f"\n{AUTO} is this machine: {here.reason or here.title}")
    return ExitCode.DONE


def _cells(profile: Profile) -> list[str]:
    speeds = (profile.bandwidth_gb_s, profile.tflops)
    return [
        profile.name,
        f"{profile.memory_gib:.1f}",
        f"{profile.usable_gib:.1f}",
        "yes" if profile.has_bf16 else "no",
        *("-" if speed is None else f"{speed:g}" for speed in speeds),
        f"{profile.title}, this machine" if profile.name == AUTO else profile.title,
    ]
