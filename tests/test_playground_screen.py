"""The keys of the playground, its waiting and its failures, and words that mean harm."""

from pathlib import Path

import pytest
from bench_app import make_app, until
from playground_pilot import SIZE, SIZES, asked, every_line, field, notes, opened, see, told, typed
from staged_playground import PROMPTS, Staged, answers, opening

from engine.events import Answered
from engine.sessions.playground import Prompt, Settings, Side, Stop
from workbench.screens.playground import PlaygroundScreen
from workbench.sessions import saved_prompts
from workbench.widgets.frame import KeyLine, TitleBar
from workbench.widgets.lineinput import LineInput
from workbench.widgets.settingsrow import SettingsRow


@pytest.fixture(autouse=True)
def own_folder(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.delenv("NO_COLOR", raising=False)
    monkeypatch.setenv("XDG_DATA_HOME", str(tmp_path / "data"))
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path))


async def test_loading_is_shown_step_by_step(tmp_path: Path) -> None:
    staged = Staged()
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        assert "the engine starts ..." in told(pilot, "#talk-head")
        assert "loading" in told(pilot, TitleBar)
        for event, words in zip(
            opening(),
            ("loads its libraries", "reading  adapter", "loading  embedded", "adapter of step 256"),
            strict=True,
        ):
            staged.tell([event])
            await see(pilot, "#talk-head", words)
        assert "step 256   base - adapter - tokens/s   embedded, cpu float32" in told(
            pilot, "#talk-head"
        )


async def test_a_prompt_typed_too_early_stays(tmp_path: Path) -> None:
    staged = Staged()
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        await pilot.press(*"quiet?")
        await pilot.press("enter")
        assert "still on its way" in notes(pilot)
        assert field(pilot, "prompt").value == "quiet?"
        assert staged.commands() == []
        staged.tell(opening())
        await see(pilot, TitleBar, "ready")
        await pilot.press("enter")
        assert [wish.side for wish in staged.commands() if isinstance(wish, Prompt)] == [
            "base", "adapter",
        ]  # fmt: skip


@SIZES
async def test_both_answers_grow_side_by_side(tmp_path: Path, size: tuple[int, int]) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=size) as pilot:
        await opened(pilot, staged)
        await typed(pilot, PROMPTS[0])
        assert field(pilot, "prompt").value == ""
        assert PROMPTS[0] in told(pilot, "#talk")
        staged.tell(answers(1)[:8])
        await see(pilot, "#talk", "Kujula")
        assert "answering" in told(pilot, TitleBar)
        assert "4 tokens, " in told(pilot, "#talk")
        staged.tell(answers(1)[8:])
        await see(pilot, TitleBar, "ready")
        rows = told(pilot, "#talk").split("\n")
        assert rows[0].split() == ["base", "adapter"]
        assert rows[2].index("Kujula") == rows[0].index("adapter")
        assert rows[2].startswith("Babur founded the Kushan Empire.")
        assert any(row.startswith("10 tokens, 63 tokens/s") for row in rows)
        assert "base 63 adapter 53 tokens/s" in told(pilot, "#talk-head")


async def test_the_engine_gets_settings_system_prompt_and_own_answers(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        (base, adapter) = await asked(pilot, staged, 1)
        assert base == Prompt(1, Side.BASE, (("user", PROMPTS[0]),), Settings())
        assert adapter == Prompt(1, Side.ADAPTER, (("user", PROMPTS[0]),), Settings())
        field(pilot, "temperature").value = "0.5"
        field(pilot, "seed").value = "7"
        field(pilot, "system").value = "Be brief."
        (base, adapter) = await asked(pilot, staged, 2)
        assert base.settings == Settings(temperature=0.5, seed=7)
        assert base.messages[0] == adapter.messages[0] == ("system", "Be brief.")
        assert base.messages[2] == ("assistant", "Babur founded the Kushan Empire.")
        assert adapter.messages[2][1].startswith("Kujula Kadphises")


async def test_escape_stops_then_leaves(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        await typed(pilot, PROMPTS[3])
        staged.commands()
        staged.tell(answers(4)[:6])
        await see(pilot, TitleBar, "answering")
        await pilot.press("escape")
        assert staged.commands() == [Stop()]
        assert isinstance(pilot.app.screen, PlaygroundScreen)
        staged.tell(
            [Answered(id=1, side=side, prompt_tokens=9, tokens=3, seconds=0.1,
                      reason="stopped") for side in ("base", "adapter")]
        )  # fmt: skip
        await see(pilot, "#talk", "stopped")
        assert staged.engine.poll() is None
        await pilot.press("escape")
        await until(pilot, lambda: not isinstance(pilot.app.screen, PlaygroundScreen))
        assert staged.engine.poll() is not None
        assert not staged.files.path.exists()


async def test_leaving_the_app_ends_the_engine(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
    assert staged.engine.poll() is not None
    assert not staged.files.path.exists()


async def test_a_second_prompt_waits_for_the_first(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        await typed(pilot, PROMPTS[0])
        assert len(staged.commands()) == 2
        await typed(pilot, "another")
        assert "still answering" in notes(pilot)
        assert staged.commands() == []
        assert field(pilot, "prompt").value == "another"
        await typed(pilot, "   ")
        staged.tell(answers(1))
        await see(pilot, TitleBar, "ready")
        await pilot.press("enter")
        assert staged.commands() == []


async def test_settings_are_judged_as_they_are_typed(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        row = pilot.app.screen.query_one(SettingsRow)
        await pilot.press("tab")
        for key in ("temperature", "top_p", "top_k", "max_new_tokens", "seed", "system", "prompt"):
            assert field(pilot, key).has_focus
            await pilot.press("tab")
        await pilot.press("end", "9", "9")
        assert field(pilot, "temperature").value == "099"
        await pilot.pause()
        assert row.wrong.startswith("temperature is a number from 0 to 10")
        assert "temperature is a number from 0 to 10" in "\n".join(every_line(pilot))
        assert field(pilot, "temperature").has_class("-wrong")
        await pilot.press("enter")
        assert field(pilot, "prompt").has_focus
        await typed(pilot, "a")
        assert "temperature is a number" in notes(pilot)
        assert staged.commands() == []
        await pilot.press("tab", "end", "backspace", "backspace", "enter", "enter")
        assert row.wrong == ""
        assert len(staged.commands()) == 2


async def test_the_talk_is_moved_while_something_is_typed(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        for number in range(1, 5):
            await asked(pilot, staged, number)
        end = told(pilot, "#talk")
        assert PROMPTS[0] not in end
        for key, is_moved in (
            ("up", True), ("down", False), ("pageup", True), ("pagedown", False),
            ("ctrl+home", True), ("ctrl+end", False),
        ):  # fmt: skip
            await pilot.press(key)
            await pilot.pause()
            assert (told(pilot, "#talk") != end) is is_moved, key
            assert (PROMPTS[0] in told(pilot, "#talk")) is (key in {"pageup", "ctrl+home"})
        assert field(pilot, "prompt").has_focus


async def test_the_last_prompt_is_saved_for_a_recipe(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        await pilot.press("ctrl+s")
        assert "Send a prompt first" in notes(pilot)
        await asked(pilot, staged, 1)
        await pilot.press("ctrl+s")
        assert saved_prompts.read() == [PROMPTS[0]]
        assert str(saved_prompts.path()) in notes(pilot)
        await pilot.press("ctrl+s")
        assert "It was saved before" in notes(pilot)
        saved_prompts.path().write_text("[samples")
        await pilot.press("ctrl+s")
        assert "Not saved" in notes(pilot)


async def test_a_talk_can_be_begun_anew(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=SIZE) as pilot:
        await opened(pilot, staged)
        await pilot.press("ctrl+l")
        assert "Nothing was said yet" in notes(pilot)
        await asked(pilot, staged, 1)
        await typed(pilot, "b")
        staged.commands()
        await pilot.press("ctrl+l")
        assert staged.commands() == [Stop()]
        assert PROMPTS[0] not in told(pilot, "#talk")
        await typed(pilot, "c")
        (base, _) = staged.commands()
        assert isinstance(base, Prompt)
        assert (base.id, base.messages) == (3, (("user", "c"),))


async def test_keys_that_are_typed_are_not_offered(tmp_path: Path) -> None:
    staged = Staged(opening())
    async with make_app(tmp_path).run_test(size=(120, 40)) as pilot:
        await opened(pilot, staged)
        line = told(pilot, KeyLine)
        assert line.split("  ")[:5] == [
            "⏎ Send", "esc Stop/Back", "tab Settings", "^s Save prompt", "^l New talk",
        ]  # fmt: skip
        assert "New run" not in line
        assert "Quit" not in line
        assert "f1 Help" in line
        await pilot.press("n", "r", "q", "question_mark", "t", "1")
        assert field(pilot, "prompt").value == "nrq?t1"
        assert not any(typed.cursor_blink for typed in pilot.app.screen.query(LineInput))
