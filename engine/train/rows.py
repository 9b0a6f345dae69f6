"""The rows of a run as tokens, and what is warned of about them."""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from engine import events
from engine.data.encoding.rendering import Template
from engine.data.encoding.template import choose, difference
from engine.data.encoding.tokenizer import Tokenizer, tokenizer_and_config
from engine.data.images.image_tokenizer import ImageTokenizer, sight
from engine.data.prepare import Prepared
from engine.gemma.config import dialect_of
from engine.run.event_log import EventLog
from engine.sessions.source_report import SourceReport
from engine.train.hooks.context import RunContext


@dataclass(frozen=True, slots=True)
class Rows:
    """The rows as tokens, by which template, and how images are seen where rows hold some."""

    prepared: Prepared
    template: Template
    images: ImageTokenizer | None


def read_rows(context: RunContext) -> Rows:
    """Read a run's sources and render them by its template, in the phase of that name."""
    recipe, log = context.recipe, context.log
    log.append(events.Phase(name="data", detail=", ".join(s.label for s in recipe.data.sources)))
    tokenizer, config = tokenizer_and_config(recipe.model)
    template = choose(recipe.data.template, tokenizer, dialect_of(config.to_dict()))
    _warn_of_template(log, tokenizer, template)
    images = sight(recipe.model, config, tokenizer)

    def tell(detail: str) -> None:
        log.append(events.Phase(name="data", detail=detail))

    prepared = context.objective.prepare(recipe.data, tokenizer, template, images, tell)
    if prepared.why_not_cached:
        log.append(_not_cached(prepared.why_not_cached))
    for warning in (*_unseen(prepared.sources), *_mostly_dropped(prepared.sources)):
        log.append(warning)
    if prepared.heldout_report and prepared.heldout_report.warning:
        fix = "Leave these rows out, or hold out others by data.seed or a file"
        message = prepared.heldout_report.warning
        log.append(events.Warned(code="heldout_near_duplicates", message=message, fix=fix))
    return Rows(prepared, template, images if prepared.rows.hold_images else None)


def _not_cached(why: str) -> events.Warned:
    return events.Warned(
        code="not_cached",
        message=f"{why}; the rows are in a temporary folder, and prepared anew by the next run",
        fix="Set GEMMA_BENCH_CACHE to a folder of yours",
    )


def _warn_of_template(log: EventLog, tokenizer: Tokenizer, template: Template) -> None:
    lines = difference(tokenizer, template)
    if lines:
        message = f"the template trained on writes otherwise than the model's own:\n{lines}"
        fix = 'data.template = "model" trains on the model\'s own'
        log.append(events.Warned(code="template_differs", message=message, fix=fix))


def _mostly_dropped(sources: Sequence[SourceReport]) -> Iterator[events.Warned]:
    """Warn of sources that lose more rows than are taken."""
    for source in sources:
        if source.num_taken and source.loss_of_rows:
            fix = "Mend these rows or leave them out; gemma-bench preview shows what becomes of all"
            yield events.Warned(code="rows_dropped", message=source.loss_of_rows, fix=fix)


def _unseen(sources: Sequence[SourceReport]) -> Iterator[events.Warned]:
    """Warn of sources that the first epoch has no row of."""
    for source in sources:
        if source.seen_per_epoch:
            continue
        reasons = ", ".join(f"{count} {reason}" for reason, count in source.dropped.items())
        yield events.Warned(
            code="source_unseen",
            message=f"no row of {source.name} is trained on in an epoch: of {source.quota} rows "
            f"{source.num_taken} could be taken" + (f" (dropped: {reasons})" if reasons else ""),
            fix="Raise its weight, mend its rows, or leave the source out; gemma-bench preview "
            "shows what becomes of them",
        )
