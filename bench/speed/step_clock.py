"""What a side of a training comparison counts: seconds, losses and tokens of each step."""

import time
from typing import Any

from transformers import TrainerCallback

from engine.train.loop import Hook
from engine.train.progress import StepResult
from engine.train.state import TrainingState


class Clock(TrainerCallback):
    """Seconds on the clock and of all cores, losses and tokens of each step."""

    def __init__(self) -> None:
        self.steps_s: list[float] = []
        self.busy_s: list[float] = []
        self.losses: list[float] = []
        self.tokens: list[int] = []
        self.supervised: list[int] = []

    def on_step_begin(self, *_: Any, **__: Any) -> None:
        """The batch is there."""
        self.began = time.perf_counter(), time.process_time()

    def on_step_end(self, *_: Any, **__: Any) -> None:
        """The weights are changed."""
        self.steps_s.append(time.perf_counter() - self.began[0])
        self.busy_s.append(time.process_time() - self.began[1])

    def on_log(self, *args: Any, logs: dict[str, Any], **_: Any) -> None:
        """A step's loss."""
        if "loss" in logs:
            self.losses.append(float(logs["loss"]))

    def counting(self, collate: Any) -> Any:
        """A collator that counts what it gives."""

        def counted(rows: Any) -> Any:
            self.tokens.append(sum(len(row["input_ids"]) for row in rows))
            labels = (label for row in rows for label in row["labels"][1:])
            self.supervised.append(sum(label != -100 for label in labels))
            return collate(rows)

        counted.pad_token_id = collate.pad_token_id  # type: ignore[attr-defined]
        return counted

    def figures(self) -> dict[str, float]:
        """Rate without the first step, and the mean loss of all supervised tokens."""
        tokens = sum(self.tokens[1:])
        weighted = zip(self.losses, self.supervised, strict=True)
        total = sum(loss * count for loss, count in weighted)
        return {
            "tokens_per_s": tokens / sum(self.steps_s[1:]),
            "tokens_per_busy_s": tokens / sum(self.busy_s[1:]),
            "loss": total / sum(self.supervised),
        }


class LoopClock(Hook):
    """The same clock as a hook of the engine's loop."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock

    def on_step_begin(self, state: TrainingState) -> None:
        """The batch is there."""
        self._clock.on_step_begin()

    def on_step_end(self, state: TrainingState, result: StepResult) -> None:
        """The weights are changed."""
        self._clock.on_step_end()
        self._clock.on_log(logs=result.metrics)
