"""The engine's event stream: one frozen class per kind, and their JSON encoding."""

from engine.events.kinds import KINDS as KINDS
from engine.events.kinds import SCHEMA_VERSION as SCHEMA_VERSION
from engine.events.kinds import Answered as Answered
from engine.events.kinds import Checkpoint as Checkpoint
from engine.events.kinds import Done as Done
from engine.events.kinds import Event as Event
from engine.events.kinds import Failed as Failed
from engine.events.kinds import Hello as Hello
from engine.events.kinds import Mark as Mark
from engine.events.kinds import Memory as Memory
from engine.events.kinds import Metric as Metric
from engine.events.kinds import Opened as Opened
from engine.events.kinds import Phase as Phase
from engine.events.kinds import Piece as Piece
from engine.events.kinds import Plan as Plan
from engine.events.kinds import Resumed as Resumed
from engine.events.kinds import Sample as Sample
from engine.events.kinds import Step as Step
from engine.events.kinds import Warned as Warned
from engine.events.kinds import decode as decode
from engine.events.kinds import decode_all as decode_all
from engine.events.kinds import encode as encode
