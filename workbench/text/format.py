"""Numbers and durations as people read them."""


def duration(seconds: float) -> str:
    """Hours, minutes and seconds, as 1:02:03 or 2:03."""
    whole = max(0, round(seconds))
    minutes, rest = divmod(whole, 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours}:{minutes:02}:{rest:02}" if hours else f"{minutes}:{rest:02}"


def span(seconds: float) -> str:
    """How long something takes, in its two largest units: 0.31 s, 4 min 5 s, 3 d 2 h, 3 months."""
    if seconds < 60:
        return f"{seconds:.2g} s"
    if seconds >= 730 * 86400:
        return f"{seconds / (365 * 86400):.2g} years"
    if seconds >= 60 * 86400:
        return f"{seconds / (30 * 86400):.0f} months"
    units = (("d", 86400), ("h", 3600), ("min", 60), ("s", 1))
    at = next(place for place, (_, size) in enumerate(units) if seconds >= size)
    (large, size), (small, part) = units[at], units[at + 1]
    whole, rest = divmod(round(seconds / part), size // part)
    return f"{whole} {large} {rest} {small}" if rest else f"{whole} {large}"


def age(seconds: float) -> str:
    """How long ago, in its largest unit: 40 s, 5 min, 3 h, 12 d."""
    for unit, size in (("d", 86400), ("h", 3600), ("min", 60)):
        if seconds >= size:
            return f"{int(seconds // size)} {unit}"
    return f"{max(0, int(seconds))} s"


def count(number: float) -> str:
    """A whole number with its thousands apart."""
    return f"{number:,.0f}"


def share(ratio: float | None) -> str:
    """A share in per cent; a dash where it is unknown."""
    return "-" if ratio is None or ratio != ratio else f"{100 * ratio:.1f} %"


def gib(amount: float | None) -> str:
    """Memory in GiB; a dash where it is unknown."""
    return "-" if amount is None or amount != amount else f"{amount:.2f} GiB"


def figure(number: float | None) -> str:
    """A measured number in four digits; null came of one that was not a number."""
    return "not a number" if number is None or number != number else f"{number:.4g}"


def amount(number: int, one: str) -> str:
    """A count and its noun."""
    return f"{count(number)} {one if number == 1 else one + 's'}"


def amount_of_epochs(epochs: float) -> str:
    """How often the data is gone through."""
    return f"{epochs:g} {'epoch' if epochs == 1 else 'epochs'}"
