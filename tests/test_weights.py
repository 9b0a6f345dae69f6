"""How much of an answer's loss counts, from its row to the batch; then comes test_loss.py."""

from typing import Any

import pytest
import torch

from engine.data.batches import Collator
from engine.data.encoding.tokens import IGNORED
from engine.data.formats import chat
from engine.data.row_pipeline import NOTED_WEIGHT, WEIGHTLESS
from engine.objectives.sft import SupervisedFineTuning
from engine.problems import Refusal
from engine.recipe.schema import Data, Source
from engine.train.loader import mapped
from tests.prepared_rows import supervised, talk


@pytest.mark.parametrize("name", ["weight", "loss", "loss_weight", "training", "train"])
@pytest.mark.parametrize("no", [0, False, 0.0, "false"])
@pytest.mark.parametrize("loss_on", ["assistant", "all"])
def test_an_excluded_answer_carries_no_loss(
    name: str, no: object, loss_on: str, rows: Any, tokenizer: Any
) -> None:
    prepared = rows(talk({}, {name: no}, {}, {name: 1}), loss_on=loss_on)
    plain = rows(talk({}, {}, {}, {}), loss_on=loss_on)
    assert prepared.rows[0].ids == plain.rows[0].ids
    said = supervised(prepared, tokenizer)
    assert "Go away" not in said
    assert "Good day.<turn|>" in said
    if loss_on == "assistant":
        assert said == "Good day.<turn|>\n"
    assert "Go away.<turn|>" in supervised(plain, tokenizer)


@pytest.mark.parametrize("weight", [1.5, -1, "half", [1], {}, "nan"])
def test_a_weight_that_is_no_share_is_refused_by_name(weight: object, rows: Any) -> None:
    with pytest.raises(Refusal, match="a message's weight that is no number from 0 to 1"):
        rows(talk({}, {"weight": weight}, {}, {}))


@pytest.mark.parametrize("name", ["weight", "loss", "loss_weight"])
@pytest.mark.parametrize("loss_on", ["assistant", "all"])
@pytest.mark.parametrize("said", ["Go away.", "Go <eos> away."])
def test_a_weight_is_that_of_each_token_of_its_answer(
    name: str, loss_on: str, said: str, rows: Any, tokenizer: Any
) -> None:
    """Whichever way the words become tokens; those that only ask weigh 1, as all answers do."""
    first = {name: 0.25, "content": said}
    prepared = rows(talk({}, first, {}, {name: "0.5", "train": True}), loss_on=loss_on)
    plain = rows(talk({}, {"content": said}, {}, {}), loss_on=loss_on)
    row = prepared.rows[0]
    assert (row.ids, row.labels) == (plain.rows[0].ids, plain.rows[0].labels)
    assert plain.rows[0].weights == ()
    by_weight = {
        weight: tokenizer.decode(
            [i for i, w in zip(row.ids, row.weights, strict=True) if w == weight]
        )
        for weight in dict.fromkeys(row.weights)
    }
    assert [*by_weight] == [1.0, 0.25, 0.5]
    assert by_weight[0.25] == f"{said}<turn|>\n"
    assert by_weight[0.5] == "Good day.<turn|>\n"
    (source,) = prepared.sources
    assert source.noted[NOTED_WEIGHT] == 1
    assert prepared.fingerprint != plain.fingerprint
    assert [turn.weight for turn in prepared.examples[0].turns] == [1, 0.25, 1, 0.5]


def test_loss_that_is_asked_of_others_words_is_told(rows: Any) -> None:
    asked = rows(talk({"weight": 1}, {"weight": 1}, {}, {}), talk({"weight": 0}, {}, {}, {}))
    (source,) = asked.sources
    assert source.unread == {chat.ASKED_LOSS: 1}


def test_weights_that_are_all_one_are_none(rows: Any) -> None:
    ones = rows(talk({"weight": 0}, {"weight": 1}, {}, {"loss": True}))
    assert ones.fingerprint == rows(talk({}, {}, {}, {})).fingerprint
    assert not ones.rows.hold_weights


def test_weights_are_cut_with_their_tokens(rows: Any) -> None:
    weighed = talk({}, {"weight": 0.25}, {}, {"weight": 0.5})
    whole = rows(weighed).rows[0]
    end = rows(weighed, max_length=len(whole.ids) - 3).rows[0]
    assert end.weights == whole.weights[:-3]
    long = {"messages": weighed["messages"] * 2}
    cut = rows(long, max_length=len(whole.ids) * 2 - 5, truncation="cut_middle").rows[0]
    weighed_ids = [*zip(cut.ids, cut.weights, strict=True)]
    both = [*zip(rows(long).rows[0].ids, rows(long).rows[0].weights, strict=True)]
    assert len(weighed_ids) < len(both)
    assert weighed_ids[-5:] == both[-5:]


def test_packed_rows_keep_their_weights(rows: Any) -> None:
    plain = talk({}, {}, {}, {"content": "Good morning."})
    prepared = rows(talk({}, {"weight": 0.25}, {}, {}), plain)
    assert prepared.rows.hold_weights
    data = Data(sources=(Source(path="rows"),))
    for packing in (True, False):
        asked = data.model_copy(update={"packing": packing})
        sequences = [*SupervisedFineTuning().sequences(asked, prepared)]
        assert len(sequences) == 2 - packing
        told = [pair for s in sequences for pair in zip(s.input_ids, s.loss_weights, strict=True)]
        apart = [
            pair for row in prepared.rows
            for pair in zip(row.ids, row.weights or [1.0] * len(row.ids), strict=True)
        ]  # fmt: skip
        assert sorted(told) == sorted(apart)
        dataset, _ = mapped(sequences)
        batch = Collator(pad_token_id=0)([dataset[n] for n in range(len(sequences))])
        weights = batch["loss_weights"]
        assert weights.dtype == torch.float32
        assert weights.shape == batch["labels"].shape
        own = [(row.weights or [1.0] * len(row.ids), row.labels) for row in prepared.rows]
        expected = sum(w for one in own for w, label in zip(*one, strict=True) if label >= 0)
        assert float(SupervisedFineTuning().weight(batch)) == expected


def test_an_answer_without_loss_comes_back_from_the_file(rows: Any) -> None:
    prepared = rows(talk({}, {"weight": 0}, {}, {}))
    assert [turn.weight for turn in prepared.examples[0].turns] == [1, 0, 1, 1]


def test_labels_hold_no_silent_token(rows: Any) -> None:
    labels = rows(talk({}, {"weight": 0}, {}, {"weight": 0}), talk({}, {}, {}, {})).rows
    assert len(labels) == 1
    assert labels[0].labels.count(IGNORED) < len(labels[0].labels)


PLAIN = {"prompt": "Say hello.", "completion": "Good day."}


@pytest.mark.parametrize("name", ["weight", "loss_weight", "sample_weight"])
@pytest.mark.parametrize(
    "record", [talk({}, {"weight": 0}, {}, {}), PLAIN, {"text": "Good day."}], ids=[*"mpt"]
)
def test_a_row_weighs_all_that_it_answers(
    name: str, record: dict[str, Any], rows: Any, tokenizer: Any
) -> None:
    plain = rows(record)
    prepared = rows(*({**record, name: weight} for weight in (0.5, "2.5", 0, None, True)))
    half, more, one = prepared.rows[:]
    for row, weight in ((half, 0.5), (more, 2.5)):
        assert (row.ids, row.labels) == (plain.rows[0].ids, plain.rows[0].labels)
        weights = {w for w, label in zip(row.weights, row.labels, strict=True) if label >= 0}
        assert weights == {weight}
    assert not one.weights
    (source,) = prepared.sources
    assert source.unread == {}
    assert source.noted[NOTED_WEIGHT] == 2
    assert source.dropped[WEIGHTLESS] == 1


@pytest.mark.parametrize("weight", [-1, "2 kg", [1], {"a": 1}, "nan", "inf", 10**400])
@pytest.mark.parametrize("name", ["weight", "loss_weight", "sample_weight"])
def test_a_row_whose_weight_is_none_is_refused_with_a_way_out(
    name: str, weight: object, rows: Any
) -> None:
    with pytest.raises(Refusal, match=f"a {name} of the row that is no number from 0 on") as told:
        rows({**PLAIN, name: weight})
    fix = f'columns = {{ own_{name} = "{name}" }}'
    assert fix in str(told.value)
    read = rows({**PLAIN, name: weight}, columns={f"own_{name}": name})
    assert read.sources[0].unread == {f"own_{name}": 1}
