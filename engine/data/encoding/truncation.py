"""What becomes of a row that is longer than the recipe's max_length."""

from collections.abc import Sequence
from itertools import chain, groupby
from typing import Any

from engine.data.conversation import UnusableRow
from engine.data.encoding.tokens import Tokens

LONGER = "longer than data.max_length"
TORN = "an image that data.max_length would cut in two"


def truncated(
    row: Tokens, max_length: int, policy: str, turn_start: int, image_token: int | None = None
) -> Tokens:
    """The row within `max_length` tokens, with the images that are left.

    cut_middle takes out whole exchanges from the middle of a talk, never the first or the last;
    where that is not enough, the end is cut as well.
    Raises `UnusableRow` where the policy drops the row, and where a part of an image would be left.
    """
    if len(row.ids) <= max_length:
        return row
    if policy == "drop":
        raise UnusableRow(LONGER)
    slices = [slice(0, len(row.ids))]
    if policy == "cut_middle":
        slices = _without_middle(row, max_length, turn_start)

    def cut(values: Sequence[Any]) -> list[Any]:
        return list(chain.from_iterable(values[part] for part in slices))[:max_length]

    images = row.images and _images_left(row, {*cut(range(len(row.ids)))}, image_token)
    return Tokens(cut(row.ids), cut(row.labels), True, images, row.weights and cut(row.weights))


def _images_left(row: Tokens, positions: set[int], image_token: int | None) -> tuple[str, ...]:
    """Images all of whose soft tokens are among these places."""
    images = []
    soft = groupby(range(len(row.ids)), lambda position: row.ids[position] == image_token)
    runs = (list(run) for is_image, run in soft if is_image)
    for image, run in zip(row.images, runs, strict=True):
        count = len(positions.intersection(run))
        if count == len(run):
            images.append(image)
        elif count:
            raise UnusableRow(TORN)
    return tuple(images)


def _without_middle(row: Tokens, max_length: int, turn_start: int) -> list[slice]:
    """What stays of a row."""
    starts = [position for position, token in enumerate(row.ids) if token == turn_start]
    # Talks end with the model's turn, so exchanges are pairs from the end; a system turn is left.
    exchanges = starts[len(starts) % 2 :: 2]
    if len(exchanges) < 3:
        return [slice(0, len(row.ids))]
    bounds = list(zip(exchanges, [*exchanges[1:], len(row.ids)], strict=True))
    removed: set[int] = set()
    length = len(row.ids)
    middle = (len(bounds) - 1) / 2
    for number in sorted(range(1, len(bounds) - 1), key=lambda number: abs(number - middle)):
        if length <= max_length:
            break
        removed.add(number)
        length -= bounds[number][1] - bounds[number][0]
    slices = [slice(0, exchanges[0])]
    slices += [slice(*bounds[number]) for number in range(len(bounds)) if number not in removed]
    return slices
