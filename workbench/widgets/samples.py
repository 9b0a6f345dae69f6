"""What base and adapter answer to the same prompts, side by side."""

from itertools import zip_longest

from engine.events import Sample
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.wrap import fit, wrap

_GAP = "  "


class Samples(Pager):
    """One step's answers, prompt by prompt."""

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._samples: tuple[Sample, ...] = ()

    def show(self, samples: tuple[Sample, ...]) -> None:
        """Show these instead."""
        if samples is not self._samples:
            self._samples = samples
            self.border_title = f"samples at step {samples[0].step}" if samples else "samples"
            self.redraw()

    def lines(self, width: int) -> list[Row]:
        """A prompt, then two columns."""
        if not self._samples:
            return [[("no sample yet", "dim")]]
        column = (width - len(_GAP)) // 2
        rows: list[Row] = [[(fit("base", column) + _GAP, "dim"), ("adapter", "dim")]]
        for sample in self._samples:
            rows += [[(line, "strong")] for line in wrap(sample.prompt, width)]
            pairs = zip_longest(wrap(sample.base, column), wrap(sample.adapter, column))
            rows += [
                [(fit(base or "", column) + _GAP, ""), (adapter or "", "accent")]
                for base, adapter in pairs
            ]
        return rows
