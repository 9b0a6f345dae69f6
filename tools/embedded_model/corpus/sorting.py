"""Putting numbers and letters in order, and naming the largest or the smallest."""

import random
from string import ascii_uppercase

from tools.embedded_model.corpus.instance import Instance

UPWARD = (
    "Sort {s}.", "Put {s} in order.", "Sort these: {s}.", "Arrange {s} from low to high.",
    "Order {s}.", "Please sort {s}.", "List {s} in order.", "What is {s} in order?",
)  # fmt: skip
DOWNWARD = ("Sort {s} downward.", "Arrange {s} from high to low.", "Put {s} in reverse order.")
LARGEST = (
    "Which is the largest of {s}?",
    "What is the largest of {s}?",
    "Name the largest of {s}.",
    "Which is the highest: {s}?",
    "Tell me the biggest of {s}.",
)
SMALLEST = (
    "Which is the smallest of {s}?",
    "What is the smallest of {s}?",
    "Name the smallest of {s}.",
    "Which is the lowest: {s}?",
    "Tell me the least of {s}.",
)


def listed(things: list[str]) -> str:
    """The things with commas between them."""
    return ", ".join(things)


class Sorting:
    """Two or three letters, or numbers up to thirty, in order."""

    name = "sorting"

    def draw(self, rng: random.Random) -> Instance:
        """A random list with a random demand."""
        if rng.random() < 0.3:
            ordered = sorted(rng.sample(ascii_uppercase, 3))
            return self.of(rng, ordered, rng.choice((UPWARD, UPWARD, DOWNWARD)))
        numbers = sorted(rng.sample(range(1, 31), rng.randint(2, 3)))
        wordings = rng.choice((UPWARD, UPWARD, DOWNWARD, LARGEST, SMALLEST))
        return self.of(rng, [str(number) for number in numbers], wordings)

    def of(self, rng: random.Random, ordered: list[str], wordings: tuple[str, ...]) -> Instance:
        """The instance that shuffles `ordered` and asks for it in one of the wordings."""
        shuffled = rng.sample(ordered, len(ordered))
        wording = rng.choice(wordings)
        expected, answer = self.reply(ordered, wordings)
        question = wording.replace("{s}", listed(shuffled))
        return Instance(self.name, wording, tuple(shuffled), question, answer, expected)

    def reply(self, ordered: list[str], wordings: tuple[str, ...]) -> tuple[str, str]:
        """The key part and the whole of the answer."""
        if wordings is LARGEST:
            return ordered[-1], f"The largest is {ordered[-1]}."
        if wordings is SMALLEST:
            return ordered[0], f"The smallest is {ordered[0]}."
        inorder = listed(ordered if wordings is UPWARD else ordered[::-1])
        return inorder, f"In order: {inorder}."
