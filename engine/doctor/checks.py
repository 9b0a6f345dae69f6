"""Every check of the doctor, in the order in which they are run and shown."""

from engine.doctor import adapters, four_bit, install, loss, mechanisms, templates
from engine.doctor.check import Check
from engine.doctor.golden import checks as golden
from engine.doctor.golden import known_dora, known_step, sight

CHECKS: tuple[Check, ...] = (
    install.tested_versions,
    golden.golden_tokens,
    golden.golden_float32,
    golden.golden_bfloat16,
    golden.golden_nf4,
    golden.nf4_products,
    sight.golden_images,
    known_step.known_step,
    known_step.known_chain,
    known_step.known_eight_bits,
    known_dora.known_dora,
    templates.terminator_supervised,
    templates.prompt_is_a_prefix,
    templates.double_bos,
    adapters.tied_embedding_refused,
    loss.accumulation_scaling,
    loss.accumulation_weighting,
    loss.checkpointing_gradients,
    mechanisms.kv_sharing,
    loss.packing_leak,
    loss.empty_mask,
    mechanisms.soft_cap,
    loss.nan_shown,
    adapters.adapter_targets,
    adapters.adapter_reload,
    adapters.dropout_in_training,
    mechanisms.host_tables,
    four_bit.nf4_experts,
    four_bit.nf4_after_an_answer,
)
