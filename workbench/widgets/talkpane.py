"""Two talks side by side, with the base and with the adapter, moved together."""

from functools import lru_cache
from itertools import zip_longest
from typing import ClassVar

from textual.binding import BindingType

from workbench.sessions.chat import Chat, Exchange, Reply
from workbench.text.sanitize import clean_line
from workbench.widgets.canvas import Row
from workbench.widgets.pager import Pager
from workbench.widgets.samples import side_by_side
from workbench.widgets.wrap import fit, wrap

_GAP = "  "
_ENDS = {"stop": "", "length": ", cut at max_new_tokens", "stopped": ", stopped"}


class TalkPane(Pager, can_focus=False, inherit_bindings=False):
    """Follows the end; the screen moves it, for the keys go to what is typed."""

    BINDINGS: ClassVar[list[BindingType]] = []
    follows = True

    def __init__(self, *, id: str | None = None) -> None:
        super().__init__(id=id)
        self._talk = Chat()

    def show(self, talk: Chat) -> None:
        """Show this talk."""
        if talk.exchanges != self._talk.exchanges or talk.opened != self._talk.opened:
            self._talk = talk
            self.redraw()

    def head(self, width: int) -> list[Row]:
        """Whose words stand in which column."""
        return [[(fit("base", _column(width)) + _GAP, "dim"), ("adapter", "dim")]]

    def lines(self, width: int) -> list[Row]:
        """Each prompt over its two answers."""
        if not self._talk.exchanges:
            return [[("what you ask is answered by both", "dim")]] if self._talk.opened else []
        return [row for exchange in self._talk.exchanges for row in _laid_out(exchange, width)]


def _column(width: int) -> int:
    return max(2, (width - len(_GAP)) // 2)


@lru_cache(maxsize=256)
def _laid_out(exchange: Exchange, width: int) -> tuple[Row, ...]:
    """An exchange as rows; differences are marked once both answers are whole."""
    column, base, adapter = _column(width), exchange.base, exchange.adapter
    rows: list[Row] = [[(line, "strong")] for line in wrap(exchange.prompt, width)]
    if exchange.is_over and base.said and adapter.said:
        rows += side_by_side(base.said, adapter.said, column)
    else:
        pairs = zip_longest(wrap(base.said, column), wrap(adapter.said, column), fillvalue="")
        rows += [[(fit(left, column) + _GAP, ""), (right, "")] for left, right in pairs]
    told = zip_longest(_told(base, column), _told(adapter, column), fillvalue="")
    rows += [[(fit(left, column) + _GAP, "dim"), (right, "dim")] for left, right in told]
    return (*rows, [])


def _told(reply: Reply, column: int) -> list[str]:
    """How an answer went, in lines."""
    if reply.reason == "failed":
        return wrap(f"failed: {clean_line(reply.error)}", column)
    rate = reply.tokens_per_s
    figures = f"{reply.tokens} tokens, {rate:.0f} tokens/s" if rate else "no token"
    if not reply.reason:
        return [figures if rate else "..."]
    return wrap(figures + _ENDS.get(reply.reason, ""), column)
