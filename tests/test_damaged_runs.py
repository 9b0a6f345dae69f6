"""A damaged run takes down nothing beside it: it is a row that says what is wrong with it."""

import json
from pathlib import Path

import pytest
from bench_app import make_app, until
from damaged_runs import SPECIAL, lay_down_all
from recording import lay_down, load
from textual.widgets import DataTable

from tests import command
from workbench.screens.run import RunScreen
from workbench.screens.runs import RunsScreen

HEALTHY = "2026-11-21-0930-healthy"


@pytest.fixture
def said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> dict[str, str]:
    """What is to be said of each damaged run of the current folder, which has a healthy one too."""
    monkeypatch.chdir(tmp_path)
    lay_down(tmp_path / "runs", HEALTHY, load("healthy"))
    return lay_down_all(tmp_path / "runs")


def test_the_command_lists_them_all(tmp_path: Path, said: dict[str, str]) -> None:
    code, out, err = command.call(tmp_path, "runs", "--json")
    assert (code, err) == (0, "")
    told = {record["run"]: record for record in map(json.loads, out.splitlines())}
    assert told[HEALTHY]["state"] == "done"
    assert set(told) == {HEALTHY, *said}
    assert [name for name, words in said.items() if words not in told[name]["cause"]] == []


async def test_the_app_shows_them_and_opens_each(tmp_path: Path, said: dict[str, str]) -> None:
    async with make_app(tmp_path).run_test(size=(140, 50)) as pilot:
        await pilot.press("r")
        table = pilot.app.screen.query_one(DataTable)
        await until(pilot, lambda: table.row_count == len(said) + 1)
        rows = {cells[1].plain: cells for cells in map(table.get_row_at, range(table.row_count))}
        causes = {name: cells[-1].plain for name, cells in rows.items()}
        assert [name for name, words in said.items() if words not in causes[name]] == []
        assert rows[HEALTHY][2].plain == "done"
        for _ in range(table.row_count):
            await pilot.press("enter")
            await until(pilot, lambda: isinstance(pilot.app.screen, RunScreen))
            await pilot.press("escape")
            await until(pilot, lambda: isinstance(pilot.app.screen, RunsScreen))
            await pilot.press("down")


@pytest.mark.parametrize("kind", SPECIAL)
def test_following_and_resuming_one_says_why_not(
    tmp_path: Path, said: dict[str, str], kind: str
) -> None:
    """And neither waits at a pipe nor reads from a device without an end."""
    for file in ("events", "request"):
        name = next(name for name in said if name.endswith(f"{file}-{kind}"))
        code, out, _ = command.call(tmp_path, "attach", name)
        # Events that can be read tell their end.
        assert (code == 1 and said[name] in out) if file == "events" else code == 0
        code, _, err = command.call(tmp_path, "resume", name)
        assert code == 2
        assert SPECIAL[kind][1] in err
