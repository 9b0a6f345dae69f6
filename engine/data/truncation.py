"""What becomes of a row that is longer than the recipe's max_length."""

from engine.data.conversation import Unfit
from engine.data.tokens import Tokens

LONGER = "longer than data.max_length"


def truncated(row: Tokens, max_length: int, policy: str, turn_start: int) -> Tokens:
    """The row within `max_length` tokens. Raises `Unfit` where the policy drops it.

    cut_middle takes out whole exchanges from the middle of a talk, never the first or the last;
    where that is not enough, the end is cut as well.
    """
    if len(row.ids) <= max_length:
        return row
    if policy == "drop":
        raise Unfit(LONGER)
    if policy == "cut_middle":
        row = _without_middle(row, max_length, turn_start)
    return Tokens(row.ids[:max_length], row.labels[:max_length], True)


def _without_middle(row: Tokens, max_length: int, turn_start: int) -> Tokens:
    starts = [place for place, token in enumerate(row.ids) if token == turn_start]
    # Talks end with the model's turn, so exchanges are pairs from the end; a system turn is left.
    exchanges = starts[len(starts) % 2 :: 2]
    if len(exchanges) < 3:
        return row
    bounds = list(zip(exchanges, [*exchanges[1:], len(row.ids)], strict=True))
    gone: set[int] = set()
    length = len(row.ids)
    middle = (len(bounds) - 1) / 2
    for number in sorted(range(1, len(bounds) - 1), key=lambda number: abs(number - middle)):
        if length <= max_length:
            break
        gone.add(number)
        length -= bounds[number][1] - bounds[number][0]
    kept = [slice(0, exchanges[0])]
    kept += [slice(*bounds[number]) for number in range(len(bounds)) if number not in gone]
    return Tokens(
        [token for part in kept for token in row.ids[part]],
        [label for part in kept for label in row.labels[part]],
        True,
    )
