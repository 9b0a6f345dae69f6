"""Answers side by side: the step that is chosen, the words that differ."""

from textual.app import App, ComposeResult

from engine.events import Sample
from workbench.widgets.answers import Samples, side_by_side, slider, words


def answers(step: int, adapter: str) -> tuple[Sample, ...]:
    return (Sample(step=step, prompt="Who?", base="It was nobody.", adapter=adapter),)


class Shown(App[None]):
    CSS = "Samples { height: 10; width: 60; }"

    def compose(self) -> ComposeResult:
        yield Samples()


def test_words_that_one_side_lacks_are_its_own() -> None:
    left, right = words("The answer is 7 km", "The answer was 8 km.")
    assert [text for text, is_own in left if is_own] == ["is 7 "]
    assert [text for text, is_own in right if is_own] == ["was 8 ", "."]
    for text, pieces in (("The answer is 7 km", left), ("The answer was 8 km.", right)):
        assert "".join(piece for piece, _ in pieces) == text


def test_japanese_is_compared_by_letter() -> None:
    left, right = words("首都は東京です", "首都は京都です")
    assert [text for text, is_own in left if is_own] == ["東"]
    assert [text for text, is_own in right if is_own] == ["都"]


def test_very_long_texts_are_left_unmarked() -> None:
    left, right = "a " * 5_000, "b " * 5_000
    assert words(left, right) == ([(left, False)], [(right, False)])


def test_answers_that_are_the_same_are_said_to_be() -> None:
    rows = side_by_side("Tokyo", "Tokyo", 20)
    assert [[text for text, _ in row] for row in rows][1] == ["both say the same"]
    assert len(side_by_side("Tokyo", "Kyoto", 20)) == 1


def test_the_slider_places_marks_by_step() -> None:
    row = slider([0, 50, 100], 50, 44, is_ascii=True)
    track = "".join(text for text, _ in row[3:6])
    assert (track[0], track[-1]) == ("+", "+")
    assert track.index("O") == (len(track) - 1) // 2
    assert "".join(text for text, _ in row).startswith("step 50")
    assert row[-1][0] == "2 of 3"


async def test_the_latest_answers_show_until_another_step_is_chosen() -> None:
    async with Shown().run_test(size=(70, 12)) as pilot:
        shown = pilot.app.query_one(Samples)
        assert "no sample yet" in shown.text_rows()[0]
        shown.show({0: answers(0, "first"), 20: answers(20, "second")})
        shown.focus()
        assert shown.step == 20
        assert "second" in "\n".join(shown.text_rows())
        await pilot.press("left")
        assert "first" in "\n".join(shown.text_rows())
        held = {0: answers(0, "first"), 20: answers(20, "second"), 40: answers(40, "third")}
        shown.show(held)
        assert shown.step == 0
        await pilot.press("right", "right", "right")
        assert shown.step == 40
        shown.show({**held, 60: answers(60, "fourth")})
        assert shown.step == 60
        await pilot.press("left")
        shown.show({0: answers(0, "first")})
        assert shown.step == 0


async def test_the_slider_stays_while_answers_move() -> None:
    async with Shown().run_test(size=(70, 12)) as pilot:
        shown = pilot.app.query_one(Samples)
        shown.show({0: answers(0, "word " * 200), 5: answers(5, "word " * 200)})
        shown.focus()
        await pilot.press("end")
        rows = shown.text_rows()
        assert rows[0].startswith("step 5")
        assert rows[1].startswith("base")
        assert "Who?" not in "\n".join(rows)
