"""Each check of the doctor fails where the bug that it is for is planted into the engine."""

import math
import re
from collections.abc import Callable
from contextlib import nullcontext
from importlib import metadata
from typing import Any

import pytest
import torch
from bitsandbytes.nn import Linear4bit
from peft.tuners.lora.dora import DoraLinearLayer
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextAttention
from trl.trainer import utils as trl_utils

from engine import events
from engine.data import batches
from engine.data.batches import Collator, TokenSequence
from engine.data.encoding import tokens
from engine.data.encoding.tokens import Encoder, Tokens
from engine.doctor import trial
from engine.doctor.checks import CHECKS
from engine.doctor.specimens import Specimens
from engine.kernels import head
from engine.model import adapter_switch, load, lora, nf4
from engine.model.expert_matmul import ExpertMatmul
from engine.model.host_embeddings import HostTable
from engine.objectives import heads
from engine.objectives.objective import Loss
from engine.objectives.sft import SupervisedFineTuning
from engine.recipe import validate as recipe_check
from engine.run.event_log import EventLog
from engine.train.progress import StepResult
from tests.test_planted_bugs import SHOWN_BY

TURN_END, NEW_LINE, BEGIN = 106, 107, 2
Plant = Callable[[pytest.MonkeyPatch], None]


def multiplied_loss(patch: pytest.MonkeyPatch) -> None:
    """Each micro-batch's own mean, summed: what Gemma 4 was first published with."""
    own_means(patch, lambda mean, micro_batches: mean * micro_batches)


def mean_of_means(patch: pytest.MonkeyPatch) -> None:
    """What transformers does where a class refuses a token count."""
    own_means(patch, lambda mean, micro_batches: mean)


def own_means(
    patch: pytest.MonkeyPatch, scaled: Callable[[torch.Tensor, int], torch.Tensor]
) -> None:
    """Micro-batches weigh alike, each with its own mean; all are weighed ahead of the first."""
    right_weight, right_loss = SupervisedFineTuning.weight, SupervisedFineTuning.loss
    weighed: list[torch.Tensor] = []
    micro_batches: list[int] = []

    def weight(self: Any, batch: Any) -> torch.Tensor:
        weighed.append(right_weight(self, batch))
        micro_batches[:] = [len(weighed)]
        return torch.tensor(1)

    def loss(self: Any, score: Any, batch: Any) -> Loss:
        right = right_loss(self, score, batch)
        total = scaled(right.total / weighed.pop(0), micro_batches[0])
        return right._replace(total=total)

    patch.setattr(SupervisedFineTuning, "weight", weight)
    patch.setattr(SupervisedFineTuning, "loss", loss)


def reentrant(patch: pytest.MonkeyPatch) -> None:
    right = trial.assembled

    def wrong(*given: Any) -> Any:
        state = right(*given)
        state.use_reentrant = True
        return state

    patch.setattr(trial, "assembled", wrong)


def unshared_without_a_cache(patch: pytest.MonkeyPatch) -> None:
    """transformers 5.5.0: without a cache, layers that share keys and values got none."""
    right = Gemma4TextAttention.forward

    def wrong(self: Any, *given: Any, shared_kv_states: Any, **named: Any) -> Any:
        if self.is_kv_shared_layer and named.get("past_key_values") is None:
            shared = shared_kv_states[self.layer_type]
            shared_kv_states = {self.layer_type: tuple(map(torch.zeros_like, shared))}
        return right(self, *given, shared_kv_states=shared_kv_states, **named)

    patch.setattr(Gemma4TextAttention, "forward", wrong)


def mask_of_ones(patch: pytest.MonkeyPatch) -> None:
    right = Collator.__call__

    def wrong(self: Collator, given: list[Any]) -> dict[str, torch.Tensor]:
        batch = right(self, given)
        return {**batch, "attention_mask": torch.ones_like(batch["input_ids"])}

    patch.setattr(Collator, "__call__", wrong)


def positions_that_go_on(patch: pytest.MonkeyPatch) -> None:
    right = batches._joined

    def wrong(rows: list[Tokens], is_weighed: bool) -> TokenSequence:
        joined = right(rows, is_weighed)
        return TokenSequence(joined.input_ids, joined.labels, list(range(len(joined.labels))))

    patch.setattr(batches, "_joined", wrong)


def unsupervised_end(patch: pytest.MonkeyPatch) -> None:
    right = tokens.labels
    patch.setattr(
        tokens, "labels", lambda *given: [-100 if x == TURN_END else x for x in right(*given)]
    )


def division_by_no_token(patch: pytest.MonkeyPatch) -> None:
    right = SupervisedFineTuning.loss

    def wrong(self: Any, score: Any, batch: Any) -> Loss:
        count = (batch["labels"][:, 1:] != tokens.IGNORED).sum()
        loss = right(self, score, batch)
        return loss._replace(total=loss.total * count / count)

    patch.setattr(SupervisedFineTuning, "loss", wrong)


def rows_without_loss(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(Tokens, "supervised", property(lambda self: len(self.labels)))


def another_prompt(patch: pytest.MonkeyPatch) -> None:
    right = Encoder.prompt
    patch.setattr(Encoder, "prompt", lambda self, turns: [*right(self, turns), NEW_LINE])


def adapted_tower(patch: pytest.MonkeyPatch) -> None:
    right = lora.pattern
    names = "q_proj|k_proj|v_proj|o_proj"
    patch.setattr(lora, "pattern", lambda given: rf"{right(given)}|.*tower.*\.({names})\.linear")


def adapted_table(patch: pytest.MonkeyPatch) -> None:
    right = lora.pattern
    patch.setattr(lora, "pattern", lambda given: rf"{right(given)}|.*\.embed_tokens_per_layer")


def forgotten_layer(patch: pytest.MonkeyPatch) -> None:
    right = lora.pattern
    patch.setattr(lora, "pattern", lambda given: right(given).replace(r"\d+", "[1-9]"))


def any_target_in_a_recipe(patch: pytest.MonkeyPatch) -> None:
    patch.setitem(recipe_check._CHECKS, "adapter", lambda section: [])


def any_target_in_a_model(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(lora, "pattern", lambda names: rf"(.*\.)?({'|'.join(names)})")


def begin_twice(patch: pytest.MonkeyPatch) -> None:
    right = Encoder.encode
    patch.setattr(
        Encoder,
        "encode",
        lambda self, talks: [
            row._replace(ids=[BEGIN, *row.ids], mask=[0, *row.mask]) for row in right(self, talks)
        ],
    )


def uncapped_head(patch: pytest.MonkeyPatch) -> None:
    right = trl_utils._ChunkedLogProbFunction

    class Wrong:
        @staticmethod
        def apply(*given: Any) -> Any:
            return right.apply(*given[:6], None, *given[7:])

    patch.setattr(trl_utils, "_ChunkedLogProbFunction", Wrong)


def uncapped_own_head(patch: pytest.MonkeyPatch) -> None:
    right = head.cross_entropy
    patch.setattr(head, "cross_entropy", lambda *given: right(*given[:3], None))


def zero_for_no_number(patch: pytest.MonkeyPatch) -> None:
    right = EventLog.append

    def wrong(self: EventLog, event: events.Event) -> None:
        if isinstance(event, events.Step):
            event.metrics.update(
                {name: 0.0 for name, value in event.metrics.items() if not math.isfinite(value)}
            )
        right(self, event)

    patch.setattr(EventLog, "append", wrong)


def swallowed_gradient(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(StepResult, "is_finite", property(lambda self: True))


def adapter_not_loaded(patch: pytest.MonkeyPatch) -> None:
    """As PEFT does onto another class: nothing, with a warning."""
    patch.setattr(adapter_switch, "set_peft_model_state_dict", lambda model, tensors: None)


def rows_of_the_next_token(patch: pytest.MonkeyPatch) -> None:
    right = HostTable.rows
    patch.setattr(HostTable, "rows", lambda self, ids: right(self, (ids + 1) % len(self.table)))


def table_not_scaled(patch: pytest.MonkeyPatch) -> None:
    right = HostTable.__init__
    patch.setattr(
        HostTable, "__init__", lambda self, table, scale, *given: right(self, table, 1.0, *given)
    )


def scales_without_their_mean(patch: pytest.MonkeyPatch) -> None:
    right = nf4._scales
    patch.setattr(nf4, "_scales", lambda state, *given: right(state, *given) - state.offset)


def gradient_of_experts_a_hundredth_off(patch: pytest.MonkeyPatch) -> None:
    right = ExpertMatmul.backward

    def wrong(ctx: Any, *gradients: torch.Tensor) -> Any:
        gradient, *rest = right(ctx, *gradients)
        return gradient * 1.01, *rest

    patch.setattr(ExpertMatmul, "backward", staticmethod(wrong))


def experts_left_whole(patch: pytest.MonkeyPatch) -> None:
    patch.setattr(load, "experts_in_four_bits", nullcontext)


def scales_that_an_answer_changes(patch: pytest.MonkeyPatch) -> None:
    """As by repacking, but far enough off to be seen at once."""
    right = Linear4bit.forward

    def wrong(self: Any, inputs: torch.Tensor) -> torch.Tensor:
        if not torch.is_grad_enabled():
            self.weight.quant_state.offset *= 1.1
        return right(self, inputs)

    patch.setattr(Linear4bit, "forward", wrong)


def adapter_at_another_scale(patch: pytest.MonkeyPatch) -> None:
    right = adapter_switch.LoraConfig.from_pretrained

    def wrong(path: str) -> Any:
        config = right(path)
        config.lora_alpha *= 2
        return config

    patch.setattr(adapter_switch.LoraConfig, "from_pretrained", wrong)


def norm_of_the_base(patch: pytest.MonkeyPatch) -> None:
    right = DoraLinearLayer.get_weight_norm
    patch.setattr(
        DoraLinearLayer,
        "get_weight_norm",
        lambda self, weight, lora_weight, scaling, **named: right(
            self, weight, torch.zeros_like(lora_weight), scaling, **named
        ),
    )


def dropout_in_answers(patch: pytest.MonkeyPatch) -> None:
    right = torch.nn.functional.dropout
    patch.setattr(torch.nn.Dropout, "forward", lambda self, inputs: right(inputs, self.p))


def newer_package(patch: pytest.MonkeyPatch) -> None:
    right = metadata.version
    patch.setattr(metadata, "version", lambda name: "5.99.0" if name == "trl" else right(name))


def missing_package(patch: pytest.MonkeyPatch) -> None:
    def wrong(name: str) -> str:
        if name == "textual":
            raise metadata.PackageNotFoundError(name)
        return right(name)

    right = metadata.version
    patch.setattr(metadata, "version", wrong)


PLANTED: list[tuple[str, Plant]] = [
    ("accumulation scaling", multiplied_loss),
    ("accumulation weighting", multiplied_loss),
    ("accumulation weighting", mean_of_means),
    ("checkpointing gradients", reentrant),
    ("KV sharing with and without cache", unshared_without_a_cache),
    ("packing leak", mask_of_ones),
    ("packing leak", positions_that_go_on),
    ("terminator supervised", unsupervised_end),
    ("empty mask", division_by_no_token),
    ("empty mask", rows_without_loss),
    ("prompt is a prefix", another_prompt),
    ("adapter targets", adapted_tower),
    ("adapter targets", adapted_table),
    ("adapter targets", forgotten_layer),
    ("tied-embedding LoRA refused", any_target_in_a_recipe),
    ("tied-embedding LoRA refused", any_target_in_a_model),
    ("double BOS", begin_twice),
    ("soft cap applied by the fused head", uncapped_head),
    ("soft cap applied by the fused head", uncapped_own_head),
    ("NaN shown as NaN", zero_for_no_number),
    ("NaN shown as NaN", swallowed_gradient),
    ("adapter reload equals adapter trained", adapter_not_loaded),
    ("host tables equal device tables", rows_of_the_next_token),
    ("host tables equal device tables", table_not_scaled),
    ("NF4 experts against dequantised", scales_without_their_mean),
    ("NF4 experts against dequantised", gradient_of_experts_a_hundredth_off),
    ("NF4 experts against dequantised", experts_left_whole),
    ("NF4 layers after an answer", scales_that_an_answer_changes),
    ("adapter reload equals adapter trained", adapter_at_another_scale),
    ("known step of DoRA", norm_of_the_base),
    ("dropout in training alone", dropout_in_answers),
    ("versions inside the tested set", newer_package),
    ("versions inside the tested set", missing_package),
]
BY_NAME = {check.name: check for check in CHECKS}


@pytest.fixture(scope="module")
def specimens(tmp_path_factory: pytest.TempPathFactory) -> Specimens:
    return Specimens(tmp_path_factory.mktemp("specimens"), has_own_head=True)


@pytest.mark.parametrize(("name", "plant"), PLANTED, ids=[f"{n}-{p.__name__}" for n, p in PLANTED])
def test_a_planted_bug_fails_its_check(
    name: str, plant: Plant, specimens: Specimens, monkeypatch: pytest.MonkeyPatch
) -> None:
    plant(monkeypatch)
    finding = BY_NAME[name](specimens)
    assert not finding.passed
    assert finding.figure is None or finding.figure > finding.limit
    assert "could not be measured" not in finding.advice
    assert finding.advice.endswith(BY_NAME[name].advice)


def test_every_check_has_its_bug() -> None:
    assert [check.name for check in CHECKS] == list(BY_NAME)
    assert set(BY_NAME) == {name for name, _ in PLANTED} | set(SHOWN_BY)


@pytest.mark.parametrize(
    "name", ["accumulation weighting", "checkpointing gradients", "empty mask"]
)
def test_what_a_card_would_train_through_is_examined_too(
    name: str, specimens: Specimens, monkeypatch: pytest.MonkeyPatch
) -> None:
    """TRL's head and PEFT's layers, without the engine's kernels."""
    monkeypatch.delattr(heads, "by_own_head")
    assert BY_NAME[name](Specimens(specimens.folder, has_own_head=False)).passed
    assert not BY_NAME[name](specimens).passed


def test_a_mean_of_means_is_no_matter_of_scaling(
    specimens: Specimens, monkeypatch: pytest.MonkeyPatch
) -> None:
    mean_of_means(monkeypatch)
    assert BY_NAME["accumulation scaling"](specimens).passed


def test_reentrant_checkpointing_is_shown_to_be_wrong(specimens: Specimens) -> None:
    finding = BY_NAME["checkpointing gradients"](specimens)
    assert finding.passed
    off = re.search(r"is off by (\d+)%", finding.advice)
    assert off
    assert int(off[1]) > 5


def test_a_check_that_breaks_has_failed_and_says_why(
    specimens: Specimens, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delattr(trl_utils, "_use_triton")
    finding = BY_NAME["soft cap applied by the fused head"](specimens)
    assert (finding.passed, finding.figure) == (False, None)
    assert "could not be measured: ImportError: gemma-bench patches trl" in finding.advice
