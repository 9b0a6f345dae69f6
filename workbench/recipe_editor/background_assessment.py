"""What takes longer than a key press, of a choice that stands: a remedy, and a simulated step."""

import time
from collections.abc import Callable, Iterator
from dataclasses import replace

from engine.hardware.profiles import Profile
from engine.problems import Refusal
from engine.recipe.schema import Recipe
from workbench.recipe_editor import recipe_assessment
from workbench.recipe_editor.recipe_assessment import RecipeAssessment
from workbench.sessions.simulation_session import Simulation

Simulate = Callable[[Recipe, Profile], Simulation]
_CALM_S = 0.15
"""Keys that are held down come faster than this."""
_STANDS_S = 1.0
_LOOK_S = 0.03
_POLL_S = 0.25


def ponder(
    known: RecipeAssessment, simulate: Simulate | None, is_over: Callable[[], bool]
) -> Iterator[RecipeAssessment]:
    """More and more of an outcome, until all is known or it is over; waits, so for a thread."""
    if not _stands(_CALM_S, is_over):
        return
    if known.is_too_large:
        yield (known := recipe_assessment.remedied(known))
    if simulate is None or known.budget is None or not _stands(_STANDS_S - _CALM_S, is_over):
        return
    yield replace(known, note=", now simulating a step")
    found = _simulated(known, simulate, is_over)
    if found is not None:
        yield found
        if found.is_too_large:
            yield recipe_assessment.remedied(found)


def _stands(seconds: float, is_over: Callable[[], bool]) -> bool:
    """Whether nothing ended it for so long."""
    until = time.monotonic() + seconds
    while not is_over():
        left = until - time.monotonic()
        if left <= 0:
            return True
        time.sleep(min(left, _LOOK_S))
    return False


def _simulated(
    known: RecipeAssessment, simulate: Simulate, is_over: Callable[[], bool]
) -> RecipeAssessment | None:
    """The outcome with a simulated step, or with why there is none; None where it is over."""
    assert known.recipe is not None
    assert known.profile is not None
    try:
        asked = simulate(known.recipe, known.profile)
    except Refusal as refusal:
        return recipe_assessment.unsimulated(known, refusal.problems[0].reason)
    except OSError as error:
        return recipe_assessment.unsimulated(known, str(error))
    try:
        while (answer := asked.poll()) is None and not asked.error:
            if not _stands(_POLL_S, is_over):
                return None
    finally:
        asked.close()
    if answer is None:
        return recipe_assessment.unsimulated(known, asked.error)
    return recipe_assessment.simulated(known, answer)
