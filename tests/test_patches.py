"""Patches of other packages: each says what it was written for, and is still needed.

A test here that fails shows no fault of the engine: the package has mended what is patched, and the
patch can go.
"""

import importlib
import importlib.util
import math
import pkgutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import transformers
from bitsandbytes import functional as four_bit
from bitsandbytes.nn import modules as bitsandbytes_modules
from packaging.requirements import Requirement
from packaging.specifiers import SpecifierSet
from torch.utils._python_dispatch import TorchDispatchMode
from transformers import AutoModelForCausalLM, modeling_utils
from transformers.models.gemma4.modeling_gemma4 import Gemma4TextExperts
from transformers.utils import import_utils

from engine.doctor.golden import seeing_models as seers
from engine.gemma.lora_targets import PER_LAYER_TABLE
from engine.gemma.towers import MODULES
from engine.installed import requirements, version
from engine.model import lora, patches
from engine.model.load import four_bits
from engine.model.patches import four_bit_cpu, frozen_towers, lean_imports
from engine.model.patches.fused_lora import use_fused_lora
from engine.model.patches.tensor_loading import tensor_by_tensor
from engine.recipe.schema import Adapter
from engine.written_for import WrittenFor
from tests import tiny

Folder = Callable[[str], Path]
PATCHES = [name for _, name, _ in pkgutil.iter_modules(patches.__path__) if name != "replaced"]


@pytest.mark.parametrize("name", PATCHES)
def test_a_patch_names_the_versions_it_was_written_for(name: str) -> None:
    """And these are installed, and asked for by the project."""
    written_for = importlib.import_module(f"engine.model.patches.{name}").WRITTEN_FOR
    assert SpecifierSet(written_for.versions).contains(version(written_for.package))
    asked = {one.name: one for one in map(Requirement, requirements())}
    assert written_for.package in asked
    written_for.check()


READS = """
import sys
sources, optimizers = [], []
sys.addaudithook(
    lambda event, args: event == "open" and str(args[0]).endswith("bert/modeling_bert.py")
    and sources.append(args)
)
{how}
print(len(sources), "scipy.optimize" in sys.modules)
"""


def test_the_engine_imports_nothing_twice_and_nothing_for_other_models() -> None:
    """And the packages alone do; what they know of their models is the same."""
    import_plainly = "import transformers.modeling_utils"
    import_leanly = "import engine.__main__ as main; main._imported(main.Job.PREVIEW)"
    told = [
        subprocess.run(
            [sys.executable, "-c", READS.format(how=how)],
            cwd=Path(__file__).parents[1], stdout=subprocess.PIPE, text=True, check=True,
        ).stdout
        for how in (import_plainly, import_leanly)
    ]  # fmt: skip
    assert told == ["2 True\n", "1 False\n"]
    right = import_utils.define_import_structure
    models = Path(transformers.__file__).parent / "models" / "__init__.py"
    assert lean_imports._read_once(right)(models) == right(str(models))


def test_what_is_missing_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    with pytest.raises(
        ImportError, match=r"^gemma-bench patches json:no.such, gone\.module:name, "
    ):
        WrittenFor("trl", "==0.1", ("json:loads", "json:no.such", "gone.module:name"))
    needed = WrittenFor("transformers", "==5.23.*", ("transformers.modeling_utils:safe_open",))
    monkeypatch.delattr(modeling_utils, "safe_open")
    with pytest.raises(ImportError, match=r"safe_open, .* was written for ==5\.23\.\*"):
        needed.check()


def unpatched(name: str) -> ModuleType:
    """A module of another package as it comes, beside the one that may have been patched."""
    spec = importlib.util.find_spec(name)
    assert spec is not None
    assert spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


@pytest.mark.parametrize("kind", ["gemma3_multimodal", "gemma4_multimodal", "gemma4_unified"])
def test_transformers_still_builds_towers_and_tables(kind: str, gemma_folder: Folder) -> None:
    model = AutoModelForCausalLM.from_pretrained(gemma_folder(kind))
    names = [name for name, _ in model.named_parameters()]
    assert any(f".{tower}." in f".{name}" for name in names for tower in MODULES)
    assert any(PER_LAYER_TABLE in name for name in names) is (kind == "gemma4_multimodal")


@pytest.mark.skipif(sys.platform != "linux", reason="Elsewhere transformers reads the files")
@pytest.mark.parametrize("changes_form", [False, True])
def test_transformers_still_maps_files(
    changes_form: bool, gemma_folder: Folder, monkeypatch: pytest.MonkeyPatch
) -> None:
    backends, safe_open = [], modeling_utils.safe_open

    def record(*args: Any, **kwargs: Any) -> Any:
        backends.append(kwargs["backend"])
        return safe_open(*args, **kwargs)

    monkeypatch.setattr(modeling_utils, "safe_open", record)
    with tensor_by_tensor(changes_form):
        AutoModelForCausalLM.from_pretrained(gemma_folder("gemma3"))
    assert backends == ["pread" if changes_form else "mmap"]


def test_transformers_still_leaves_experts_in_16_bits(gemma_folder: Folder) -> None:
    model = AutoModelForCausalLM.from_pretrained(
        gemma_folder("gemma4_moe"), quantization_config=four_bits(torch.float32)
    )
    experts = [module for module in model.modules() if isinstance(module, Gemma4TextExperts)]
    assert experts
    assert all(weight.is_floating_point() for module in experts for weight in module.parameters())


@pytest.mark.skipif(
    not torch.backends.cpu.get_cpu_capability().startswith("AVX512"), reason="Others read it right"
)
def test_bitsandbytes_still_reads_rows_of_half_a_block_wrongly() -> None:
    torch.manual_seed(0)
    packed, state = four_bit.quantize_4bit(torch.randn(64, 32), blocksize=64, quant_type="nf4")

    def read(*shape: int) -> torch.Tensor:
        keys = torch._C.DispatchKeySet(torch._C.DispatchKey.CPU)
        values: torch.Tensor = four_bit_cpu.original_kernel().call_boxed(
            keys, packed, state.absmax, 64, "nf4", shape, torch.float32
        )
        return values

    assert not torch.allclose(read(64, 32).view(32, 64), read(32, 64))


def test_bitsandbytes_still_repacks_weights_that_answer(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bitsandbytes_modules, "has_avx512bf16", lambda: True)
    repacked = []
    monkeypatch.setattr(
        bitsandbytes_modules,
        "_convert_weight_packed_for_cpu",
        lambda data, state: repacked.append(state) or (data, state),
    )
    model = torch.nn.Sequential(bitsandbytes_modules.Linear4bit(64, 64, quant_type="nf4")).eval()
    model.to("cpu")
    model[0].weight = model[0].weight.cpu()
    with torch.no_grad():
        model(torch.randn(1, 64))
        assert len(repacked) == 1
        four_bit_cpu.keep_as_stored(model)
        model(torch.randn(1, 64))
    assert len(repacked) == 1


def test_towers_still_keep_a_graph_where_inputs_require_gradients(tmp_path: Path) -> None:
    gemma = tiny.loaded(seers.build("gemma3", tmp_path), has_towers=True)
    model = lora.attach(gemma.model, Adapter(r=2), 0)
    model.enable_input_require_grads()
    inner, pixels = model.get_base_model().model, torch.randn(1, 3, 56, 56)
    assert inner.get_image_features(pixels).pooler_output.requires_grad
    frozen_towers.look_without_graph(model)
    assert not inner.get_image_features(pixels).pooler_output.requires_grad


def test_trl_still_scores_every_position_on_a_cpu(gemma_folder: Folder) -> None:
    utils, scored = unpatched("trl.trainer.utils"), []

    class Recording:
        @staticmethod
        def apply(hidden: torch.Tensor, weight: torch.Tensor, *rest: Any) -> Any:
            scored.append(len(hidden))
            return kernel.apply(hidden, weight, *rest)

    kernel, utils._ChunkedLogProbFunction = utils._ChunkedLogProbFunction, Recording
    model = tiny.loaded(gemma_folder("gemma3")).model
    utils.add_fused_lm_head(model, outputs=("log_probs", "entropy", "is_top1"))
    ids = torch.arange(5, 15)[None]
    labels = ids.clone()
    labels[:, :7] = -100
    model(input_ids=ids, labels=labels, use_cache=False, fused_lm_head=True)
    utils._use_triton = lambda device: True
    model(input_ids=ids, labels=labels, use_cache=False, fused_lm_head=True)
    every, supervised = scored
    assert every > supervised == 3


def test_pefts_switch_still_visits_every_weight(gemma_folder: Folder) -> None:
    model = lora.attach(tiny.loaded(gemma_folder("gemma3")).model, Adapter(r=2), 0)
    trained = [weight for weight in model.parameters() if weight.requires_grad]
    model.base_model.disable_adapter_layers()
    assert trained
    assert not any(weight.requires_grad for weight in trained)


class Outputs(TorchDispatchMode):
    """Counts new tensors of one shape."""

    def __init__(self, shape: tuple[int, ...]) -> None:
        super().__init__()
        self.size = math.prod(shape)
        self.made: set[int] = set()
        self.alive: list[torch.Tensor] = []

    def __torch_dispatch__(
        self, func: Any, types: Any, args: Any = (), kwargs: dict[str, Any] | None = None
    ) -> Any:
        """Run an operation."""
        made = func(*args, **(kwargs or {}))
        if isinstance(made, torch.Tensor) and made.numel() == self.size:
            self.made.add(made.untyped_storage().data_ptr())
            self.alive.append(made)
        return made


def test_pefts_layers_still_make_their_output_several_times(gemma_folder: Folder) -> None:
    model = lora.attach(tiny.loaded(gemma_folder("gemma3")).model, Adapter(r=2), 0).train()
    layer = model.get_submodule("base_model.model.model.layers.0.mlp.up_proj")

    def outputs() -> int:
        with Outputs((512, 96)) as made:
            layer(torch.randn(1, 512, 64, requires_grad=True))
        return len(made.made)

    assert outputs() > 1
    assert use_fused_lora(model)
    assert outputs() == 1
