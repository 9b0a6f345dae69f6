"""Checks of the installation itself."""

from packaging.requirements import Requirement

from engine.doctor.check import Measurement, check
from engine.doctor.specimens import Specimens
from engine.installed import requirements, version


@check(
    "versions inside the tested set",
    limit=0,
    advice="Install the project again in an environment of its own: pip install -e .",
    is_fast=True,
)
def tested_versions(specimens: Specimens) -> Measurement:
    """Count packages of another version than the project asks for."""
    outside = [
        f"{package.name} {version(package.name) or 'is missing'} ({package.specifier} is tested)"
        for package in map(Requirement, requirements())
        if not _is_inside(package)
    ]
    return Measurement(len(outside), ", ".join(outside))


def _is_inside(package: Requirement) -> bool:
    if package.marker and not package.marker.evaluate():
        return True
    installed = version(package.name)
    return bool(installed) and package.specifier.contains(installed, prereleases=True)
