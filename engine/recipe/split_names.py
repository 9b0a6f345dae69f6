"""Splits by the names of files and folders, as people and the hub write them."""

import re
from collections.abc import Iterable, Sequence

TRAIN, ALL = "train", "all"
_WORDS = {
    TRAIN: ("train", "training", "trainset"),
    "validation": ("validation", "valid", "val", "dev", "devset", "valset", "development"),
    "test": ("test", "testing", "testset"),
    "eval": ("eval", "evaluation", "evalset"),
    "holdout": ("holdout", "heldout"),
}
SPLIT_OF_WORD = {word: split for split, words in _WORDS.items() for word in words}
_SHARD = re.compile(r"(.+?)-\d{5}-of-\d{5}.*")
"""A shard's name on the hub, such as train_sft-00000-of-00003."""
OF_SPLIT = "a row of the split {}, by its own column"
"""Why a row is left out whose column `split` names one that is not asked for."""
_IN_TWO_WORDS = re.compile(r"(held|hold)[-_ ]out")


def splits_of(split: str) -> tuple[str, ...]:
    """The splits that a recipe's `split` names; several are joined by a plus, as on the hub."""
    names = (name.strip().lower() for name in split.split("+"))
    return tuple(SPLIT_OF_WORD.get(name, name) for name in names)


def asked_of(split: str | None, file: str) -> frozenset[str]:
    """The usual splits whose rows are asked for of a file; none where all are."""
    if split == ALL:
        return frozenset()
    names = splits_of(split) if split else (TRAIN, split_of((file,)))
    return frozenset({*names, *(split_of((name,)) for name in names)} - {""})


def split_of(parts: Sequence[str], listed: Iterable[str] = ()) -> str:
    """The split that a file's name or one of its folders' names, from the outermost in; "" if none.

    A name that is a split's as a whole goes before one that has it among its words, and the file
    before its folders. `listed` are names that count although they are no usual ones.
    """
    *folders, file = (part.lower() for part in parts)
    stem = file.partition(".")[0] or file
    shard = _SHARD.fullmatch(stem)
    own = shard[1] if shard else stem
    places = [own, *reversed(folders)]
    names = {*listed}
    for place in places:
        if place in names or place in SPLIT_OF_WORD:
            return SPLIT_OF_WORD.get(place, place)
    if shard and _words(own):
        return own
    return next((words[0] for words in map(_words, places) if words), "")


def _words(name: str) -> list[str]:
    joined = _IN_TWO_WORDS.sub(r"\1out", name)
    return [SPLIT_OF_WORD[word] for word in re.split(r"[^a-z]+", joined) if word in SPLIT_OF_WORD]
