"""The engine behind the preview screen: one at a time, again after its death, none at the end."""

from typing import cast

import pytest
from staged_preview import Staged

from engine.problems import Refusal
from engine.recipe.schema import Recipe
from engine.sessions.preview import Answer
from workbench.sessions.engine_session import Preview
from workbench.sessions.prestarted_preview import PrestartedPreview

RECIPE = Recipe.model_validate({"data": {"sources": [{"path": "rows.jsonl"}]}})


class Stages:
    """Counts the engines it starts."""

    def __init__(self) -> None:
        self.started: list[Staged] = []

    def __call__(self) -> Preview:
        self.started.append(Staged())
        return cast(Preview, self.started[-1])


def test_it_is_started_once() -> None:
    stages = Stages()
    warm = PrestartedPreview(stages)
    assert (warm.phase, warm.is_waiting, warm.poll()) == ("starting", False, None)
    warm.start()
    warm.start()
    warm.ask(RECIPE, 20, 0)
    assert warm.is_waiting
    assert isinstance(warm.poll(), Answer)
    assert len(stages.started) == 1


def test_one_that_died_is_replaced_and_put_away() -> None:
    stages = Stages()
    warm = PrestartedPreview(stages)
    warm.start()
    stages.started[0].is_alive = False
    warm.ask(RECIPE, 20, 0)
    assert [staged.num_closed for staged in stages.started] == [1, 0]


def test_one_that_cooled_is_started_again_and_one_that_closed_is_not() -> None:
    stages = Stages()
    warm = PrestartedPreview(stages)
    warm.start()
    warm.stop()
    warm.start()
    warm.close()
    warm.close()
    warm.start()
    assert [staged.num_closed for staged in stages.started] == [1, 1]


def test_what_keeps_it_from_starting_is_told_to_who_asks() -> None:
    def start() -> Preview:
        raise Refusal.of("/tmp", "no space left on device", "Free space there")

    warm = PrestartedPreview(start)
    warm.start()
    with pytest.raises(Refusal, match="no space left"):
        warm.ask(RECIPE, 20, 0)
