"""The README's picture: the run screen over a finished run, `python docs/screenshot.py RUN`."""

import asyncio
import re
import sys
from pathlib import Path

from engine import rundir
from workbench.app import BenchApp
from workbench.screens.run import RunScreen

SIZE = (120, 40)
PICTURE = Path(__file__).with_name("run.svg")
_FONT_FACES = re.compile(r"\s*@font-face \{.*?\}", re.DOTALL)
"""Rich points them at a content delivery network; without them the reader's own font is taken."""
_POLL_S = 0.05


async def picture(name: str) -> str:
    """The app's SVG once the run is read whole."""
    app = BenchApp(rundir.find(name))
    async with app.run_test(size=SIZE) as pilot:
        while not (isinstance(app.screen, RunScreen) and not app.screen.latest.state.is_alive):
            await pilot.pause(_POLL_S)
        await pilot.pause(1.0)
        return _FONT_FACES.sub("", app.export_screenshot())


if __name__ == "__main__":
    PICTURE.write_text(asyncio.run(picture(sys.argv[1])))
