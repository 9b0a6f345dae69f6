"""Every check of the doctor, in the order in which they are run and told."""

from engine.doctor.accumulation_scaling import accumulation_scaling
from engine.doctor.accumulation_weighting import accumulation_weighting
from engine.doctor.adapter_reload import adapter_reload
from engine.doctor.adapter_targets import adapter_targets
from engine.doctor.check import Check
from engine.doctor.checkpointing import checkpointing_gradients
from engine.doctor.double_bos import double_bos
from engine.doctor.empty_mask import empty_mask
from engine.doctor.host_tables import host_tables
from engine.doctor.kv_sharing import kv_sharing
from engine.doctor.nan_shown import nan_shown
from engine.doctor.nf4_answer import nf4_after_an_answer
from engine.doctor.nf4_experts import nf4_experts
from engine.doctor.packing_leak import packing_leak
from engine.doctor.prompt_prefix import prompt_is_a_prefix
from engine.doctor.soft_cap import soft_cap
from engine.doctor.terminator import terminator_supervised
from engine.doctor.tested_versions import tested_versions
from engine.doctor.tied_embedding import tied_embedding_refused

CHECKS: tuple[Check, ...] = (
    tested_versions,
    terminator_supervised,
    prompt_is_a_prefix,
    double_bos,
    tied_embedding_refused,
    accumulation_scaling,
    accumulation_weighting,
    checkpointing_gradients,
    kv_sharing,
    packing_leak,
    empty_mask,
    soft_cap,
    nan_shown,
    adapter_targets,
    adapter_reload,
    host_tables,
    nf4_experts,
    nf4_after_an_answer,
)
