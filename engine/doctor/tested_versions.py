"""Whether the installed versions are those that the project was tested with."""

from packaging.requirements import Requirement

from engine.doctor.check import Measured, check
from engine.doctor.specimens import Specimens
from engine.installed import requirements, version


@check(
    "versions inside the tested set",
    limit=0,
    advice="Install the project again in an environment of its own: pip install -e .",
    is_fast=True,
)
def tested_versions(specimens: Specimens) -> Measured:
    """How many packages are of another version than the project asks for."""
    asked = [Requirement(line) for line in requirements()]
    outside = [f"{one.name} {version(one.name) or 'is missing'} ({one.specifier} is tested)"
               for one in asked if not _is_inside(one)]  # fmt: skip
    return Measured(len(outside), ", ".join(outside))


def _is_inside(asked: Requirement) -> bool:
    if asked.marker and not asked.marker.evaluate():
        return True
    found = version(asked.name)
    return bool(found) and asked.specifier.contains(found, prereleases=True)
