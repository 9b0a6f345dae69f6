"""What became of the rows of each source: in plan.json, in a preview and on screens."""

from msgspec import Struct, field


class TokenLengths(Struct, frozen=True):
    """Tokens of the rows taken, before truncation."""

    p50: int = 0
    p95: int = 0
    max: int = 0


class HeldoutReport(Struct, frozen=True):
    """Rows that are kept for judging, and how many of those trained on are nearly the same."""

    rows: int
    near_duplicates: int
    """Rows trained on that are like one that is held out, as MinHash judges."""
    first_trained: str = ""
    """Where the first of them stands."""
    first_held: str = ""
    """And the row that it is like."""

    @property
    def warning(self) -> str:
        """In words, that judging by the held-out rows would flatter; empty where it wouldn't."""
        if not self.near_duplicates:
            return ""
        return (
            f"{self.near_duplicates:,} rows trained on are nearly the same as held-out ones "
            f"(first: {self.first_trained}, like {self.first_held})"
        )


class SourceReport(Struct, frozen=True):
    """One source's rows: asked for, taken, dropped and noted by reason, and how long they are."""

    name: str
    format: str
    quota: int = field(name="asked")
    """Rows the recipe asks for; those the source has where it asks for all."""
    num_taken: int = field(name="taken")
    seen_per_epoch: int
    """Rows of one epoch, by the source's weight."""
    dropped: dict[str, int]
    first_dropped: dict[str, str]
    """Where the first row of each reason stands."""
    noted: dict[str, int]
    """Rows that stay but are worth a look, by reason."""
    first_noted: dict[str, str]
    files: tuple[str, ...] = ()
    """Files that were read; of a hub dataset its id."""
    left_out: dict[str, tuple[str, ...]] = {}
    """Files that are there and were not read, by reason; the first hundred of each."""
    unread: dict[str, int] = {}
    """Rows taken that say something in a column, or in a key of a message, that is not read."""
    harmless: dict[str, int] = {}
    """The same of columns that only describe a row, such as its id."""
    tokens: TokenLengths = TokenLengths()
    truncated_share: float = 0.0
    """Of the rows taken."""
    supervised_share: float = 0.0
    """Of the tokens of the rows taken, after truncation."""
    histogram: tuple[tuple[int, int], ...] = ()
    """(most tokens, rows) of each bin of lengths before truncation, from short to long; the bins
    are equally wide but the last."""

    @property
    def loss_of_rows(self) -> str:
        """In words, that more rows were dropped than taken and why most were; else nothing."""
        dropped = sum(self.dropped.values())
        if dropped <= self.num_taken:
            return ""
        reason = max(self.dropped, key=self.dropped.__getitem__)
        return (
            f"{dropped:,} of {dropped + self.num_taken:,} rows of {self.name} are dropped, most of "
            f"them for {reason} ({self.dropped[reason]:,}; first: {self.first_dropped[reason]})"
        )
