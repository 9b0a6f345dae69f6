"""The engine's job behind a playground: base and adapter of a run, loaded once, answer prompts.

It ends when it is asked to, and when its viewer is gone.
"""

from pathlib import Path

import torch

from engine import events
from engine.budget.placement import placed_model
from engine.data.encoding.template import choose
from engine.gemma.config import dialect_of
from engine.hardware.profiles import Profile
from engine.model.adapter_switch import AdapterSwitch, attach, read
from engine.model.answers.playground_server import PlaygroundServer
from engine.model.load import load
from engine.problems import Refusal
from engine.run import adapters
from engine.run.control import RunControl
from engine.run.event_log import EventLog
from engine.run.rundir import RunDir
from engine.sessions import playground, serve
from engine.sessions.playground import Opening
from engine.units import GIB

_SPARED_GIB = 1.0
"""Device memory left to a run at work, beside what it has taken."""


def run_job(run: RunDir, log: EventLog, control: RunControl) -> None:
    """Load what the request names, then answer until nobody asks any more."""
    serve.serve(run, control, lambda _: _server(run, log))


def _server(session: RunDir, log: EventLog) -> PlaygroundServer:
    opening = playground.opening(session.read_request_document())
    return PlaygroundServer(_opened(opening, log), log)


def _opened(opening: Opening, log: EventLog) -> AdapterSwitch:
    """Base and adapter of a run, as it was trained. Raises `Refusal`."""
    run = RunDir(Path(opening.run))
    request = run.read_request()
    recipe, profile = request.recipe, request.hardware
    adapter = adapters.find(run, opening.adapter)
    log.append(events.Phase(name="reading", detail=adapter.name))
    weights = read(adapter, recipe.model)
    log.append(events.Phase(name="loading", detail=recipe.model.path))
    _spare(run, profile)
    loaded = load(placed_model(recipe, profile).model, profile)
    template = choose(
        recipe.data.template, loaded.tokenizer, dialect_of(loaded.model.config.to_dict())
    )
    adapted = attach(loaded, template, weights)
    log.append(
        events.Opened(
            run=str(run.path),
            adapter=adapter.name,
            step=adapter.step,
            model=recipe.model.path,
            device=loaded.device,
            dtype=str(loaded.dtype).removeprefix("torch."),
            quantization=recipe.model.quantization,
        )
    )
    return adapted


def _spare(run: RunDir, profile: Profile) -> None:
    """Keep this process from taking memory that the run, where it is at work, could still need."""
    if profile.device != "cuda":
        return
    if not torch.cuda.is_available():
        fix = "Open it on a machine with an NVIDIA GPU"
        reason = "it was trained on a cuda device, and none is here"
        raise Refusal.of(str(run.path), reason, fix, key="hardware")
    if run.is_alive():
        free, total = torch.cuda.mem_get_info()
        share = max(0.0, free - _SPARED_GIB * GIB) / total
        torch.cuda.set_per_process_memory_fraction(share)
