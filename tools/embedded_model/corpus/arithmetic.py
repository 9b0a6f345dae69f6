"""Sums, differences, products, halves and unit conversions with small numbers."""

import random

from tools.embedded_model.corpus.instance import Instance

ASKING = (
    "What is {e}?", "How much is {e}?", "Calculate {e}.", "Compute {e}.", "{e} = ?",
    "Tell me what {e} is.", "What does {e} make?", "Work out {e}.", "Can you tell me {e}?",
    "Find {e}.", "{e} is how much?", "Please calculate {e}.",
)  # fmt: skip
SIGNS = {"plus": "+", "minus": "-", "times": "*"}
CONVERTING = (
    "How many {small} are in {n} {large}?", "Convert {n} {large} to {small}.",
    "{n} {large} are how many {small}?", "What is {n} {large} in {small}?",
    "Tell me how many {small} make {n} {large}.", "Change {n} {large} into {small}.",
    "Give me {n} {large} in {small}.", "Express {n} {large} in {small}.",
)  # fmt: skip
UNITS = (
    ("metres", "centimetres", 100), ("kilometres", "metres", 1000),
    ("centimetres", "millimetres", 10), ("kilograms", "grams", 1000),
    ("litres", "millilitres", 1000), ("hours", "minutes", 60), ("minutes", "seconds", 60),
    ("weeks", "days", 7), ("days", "hours", 24), ("years", "months", 12), ("feet", "inches", 12),
    ("yards", "feet", 3), ("dollars", "cents", 100), ("centuries", "years", 100),
    ("decades", "years", 10), ("dozens", "eggs", 12),
)  # fmt: skip


def operands(rng: random.Random) -> tuple[str, int, int, int]:
    """An operation, its two numbers and the result, never below zero."""
    operation = rng.choice(("plus", "minus", "times"))
    if operation == "times":
        a, b = rng.randint(0, 10), rng.randint(0, 10)
        return operation, a, b, a * b
    a, b = rng.randint(0, 20), rng.randint(0, 20)
    if operation == "plus":
        return operation, a, b, a + b
    a, b = max(a, b), min(a, b)
    return operation, a, b, a - b


class Arithmetic:
    """a + b and a - b with numbers up to 20, the table of products up to 10."""

    name = "arithmetic"

    def draw(self, rng: random.Random) -> Instance:
        """A random calculation, in words or in signs."""
        operation, a, b, result = operands(rng)
        wording, word = rng.choice(ASKING), rng.choice((operation, SIGNS[operation]))
        question = wording.replace("{e}", f"{a} {word} {b}")
        answer = f"{a} {operation} {b} is {result}."
        slots = (word, str(a), str(b))
        return Instance(self.name, wording, slots, question, answer, str(result))


class Units:
    """So many of a larger unit in a smaller one, from 2 to 12."""

    name = "units"

    def draw(self, rng: random.Random) -> Instance:
        """A random conversion."""
        large, small, factor = rng.choice(UNITS)
        n, wording = rng.randint(2, 12), rng.choice(CONVERTING)
        values = {"n": str(n), "large": large, "small": small}
        result = str(n * factor)
        answer = f"{n} {large} are {result} {small}."
        return Instance(
            self.name, wording, (str(n), large), wording.format(**values), answer, result
        )
