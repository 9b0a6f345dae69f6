"""The fold of events into a run's state, on recorded runs and plain values."""

import itertools
import math
import random
import sys

import pytest
from flat_steps import changed, flat_step
from recording import TRAINED, compared, healthy, load, opening, samples, steps, told

from engine.events import Checkpoint, Event, Hello, Step, Warned
from workbench.run_view import metrics, run_facts
from workbench.run_view.run_state import RunState
from workbench.text.styled import plain


def test_a_healthy_run() -> None:
    run = RunState().fold(load("healthy"))
    assert run.hello is not None
    assert run.hello.pid == 4242
    assert run.plan is not None
    assert run.phase is not None
    assert run.phase.name == "saving"
    assert len(run.steps) == 240
    assert run.last_step is not None
    assert run.last_step.step == 240
    assert run.done is not None
    assert run.done.heldout_exact == 0.72
    assert run.is_ended
    assert run.eta_s is None
    assert run.progress_ratio == 1.0
    assert sorted(run.samples) == [0, 240]
    assert tuple(sample.adapter for sample in run.last_samples) == TRAINED
    assert run.steps.least("loss") == min(run.steps.means("loss")[1])


def test_a_live_run_knows_how_long_it_takes() -> None:
    run = RunState().fold(load("live"))
    assert not run.is_ended
    assert run.progress_ratio == pytest.approx(90 / 240)
    assert run.seconds_per_step == pytest.approx(0.12)
    assert run.eta_s == pytest.approx(150 * 0.12)
    assert [warned.code for warned in run.warnings] == ["rows_dropped"]
    assert [checkpoint.step for checkpoint in run.checkpoints] == [80]


def test_a_failed_run() -> None:
    run = RunState().fold(load("failed"))
    assert run.failed is not None
    assert run.failed.phase == "training"
    assert run.done is None
    assert run.eta_s is None


def test_a_lost_loss_stays_lost() -> None:
    run = RunState().fold(load("died"))
    assert len(run.steps) == 60
    assert math.isnan(run.steps.means("loss")[1][40])
    least = run.steps.least("loss")
    assert least is not None
    assert math.isfinite(least)
    assert not run.is_ended


def test_before_the_first_step() -> None:
    run = RunState().fold(opening(100))
    assert run.progress_ratio == 0.0
    assert run.eta_s is None
    assert RunState().progress_ratio is None
    assert RunState().last_samples == ()


def test_the_pace_follows_a_change() -> None:
    slow = [step_at(number, 1.0 * number) for number in range(1, 101)]
    fast = [step_at(number, 100 + 0.1 * (number - 100)) for number in range(101, 201)]
    assert RunState().fold(slow).seconds_per_step == pytest.approx(1.0)
    assert RunState().fold([*slow, *fast]).seconds_per_step == pytest.approx(0.1)


def test_batches_do_not_matter() -> None:
    events = load("healthy")
    whole = RunState().fold(events)
    dice = random.Random(3)
    run, rest = RunState(), iter(events)
    while batch := list(itertools.islice(rest, dice.randint(1, 40))):
        run = run.fold(batch)
    assert told(run) == told(whole)


def test_a_fold_changes_no_earlier_state() -> None:
    before = RunState().fold(opening(100)).fold(steps(10, 100))
    one, other = before.fold(steps(12, 100, 11)), before.fold(steps(20, 100, 11))
    assert [len(run.steps) for run in (before, one, other)] == [10, 12, 20]
    assert before.last_step is not None
    assert before.last_step.step == 10
    assert one.steps.means("loss")[0] == list(range(1, 13))
    assert other.steps.means("loss")[0] == list(range(1, 21))


def test_a_resumed_run_replaces_what_it_does_again() -> None:
    hello = Hello(schema=1, job="train", pid=2, host="bench", version="0.1.0")
    again = [hello, *steps(15, 100, 9)]
    run = RunState().fold([*opening(100), *steps(12, 100), *again])
    assert run.steps.means("loss")[0] == list(range(1, 16))


def test_a_run_resumed_within_a_bucket_loses_none_of_its_steps() -> None:
    run = RunState().fold(steps(10_000, 10_000))
    firsts, _ = run.steps.means("loss")
    width = firsts[-1] - firsts[-2]
    assert width > 1
    again = run.fold(steps(10_000, 10_000, firsts[5] + width - 1))
    assert again.steps.means("loss")[0] == firsts
    assert sum(bucket.count for bucket in again.steps.curve("loss", 0, 10_000, 60) if bucket) == (
        10_000 + 1
    )


def test_the_pace_of_a_resumed_run_is_taken_from_its_own_steps() -> None:
    before = [step_at(number, 100.0 * number) for number in range(1, 21)]
    after = [step_at(number, 2.0 * number) for number in range(11, 41)]
    run = RunState().fold(before).fold(after)
    assert [step for step, _ in run.recent] == list(range(1, 41))


def test_what_a_state_keeps_of_a_long_run_does_not_grow() -> None:
    run = RunState()
    for number in range(1, 1_000):
        run = run.fold([Checkpoint(step=number, path="p"), *samples(number, TRAINED), *warned()])
    assert run.num_checkpoints == 999
    assert len(run.checkpoints) == len(run.warnings) == 100
    assert len(run.samples) <= 64
    assert run.checkpoints[-1].step == max(run.samples) == 999


def warned() -> list[Event]:
    return [Warned(code="c", message="m", fix="f")]


def test_a_new_hello_takes_back_the_ending() -> None:
    run = RunState().fold(healthy())
    assert run.fold([opening(240)[0]]).done is None


def test_a_prompt_sampled_twice_at_a_step_is_shown_once() -> None:
    events = [event for event in opening(10) if event.kind == "sample"]
    assert len(RunState().fold([*events, *events]).last_samples) == 2


def test_a_step_costs_the_same_however_long_the_run_is() -> None:
    """Counted in calls of functions, which no other process on the machine can change."""

    def calls(number: int) -> int:
        run = RunState().fold([*opening(20_000), *steps(number, 20_000)])
        count = 0

        def tick(*_: object) -> None:
            nonlocal count
            count += 1

        sys.setprofile(tick)
        try:
            for later in range(number + 1, number + 101):
                run = run.fold([step_at(later, float(later))])
        finally:
            sys.setprofile(None)
        assert len(run.steps) == number + 100
        return count

    assert calls(20_000) < 1.5 * calls(1_000)


def step_at(number: int, elapsed_s: float) -> Step:
    return flat_step(
        step=number, epoch=0.0, loss=1.0, token_accuracy=0.5, learning_rate=1e-3, grad_norm=1.0,
        tokens=number, supervised_tokens=number, tokens_per_s=1.0, elapsed_s=elapsed_s,
        allocated_gib=None, reserved_gib=None, rss_gib=1.0,
    )  # fmt: skip


def test_the_memory_event_is_kept() -> None:
    run = RunState().fold(compared(load("healthy")))
    assert run.memory is not None
    assert (run.memory.step, run.memory.rss_gib) == (2, 0.74)
    assert len(run.steps) == 240


def test_a_metric_that_comes_now_and_then_is_a_series_of_its_own() -> None:
    """Missing in a step is not the same as no number in it."""
    taken = [changed(step_at(n, n), eval_loss=2.0 / n) if n % 10 == 0 else step_at(n, n)
             for n in range(1, 41)]  # fmt: skip
    lost = changed(step_at(41, 41.0), eval_loss=None)
    run = RunState().fold([*opening(100), *taken, lost])
    assert [m.name for m in metrics.of_run(run) if m.name == "eval_loss"] == ["eval_loss"]
    firsts, means = run.steps.means("eval_loss")
    assert firsts == [10, 20, 30, 40, 41]
    assert means[:4] == [0.2, 0.1, pytest.approx(2 / 30), 0.05]
    assert means[4] != means[4]
    assert run.steps.at("eval_loss", 11) is None
    assert run.steps.at("loss", 11) is not None
    assert ("eval_loss", "not a number", "bad") in run_facts.of_last_step(run)


def test_a_run_that_has_ended_is_not_advised_to_stop() -> None:
    warnings = [
        Warned(code="loss_spike", message="it rose", fix="Stop and go on."),
        Warned(code="rows_dropped", message="3 rows", fix="See them."),
    ]
    alive, ended = (
        "\n".join(plain(row) for row in run_facts.warning_rows(warnings, is_alive, 80))
        for is_alive in (True, False)
    )
    assert "it rose. Stop and go on." in alive
    assert "it rose" in ended
    assert "Stop" not in ended
    assert "3 rows. See them." in ended
