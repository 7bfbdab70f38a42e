"""Where a language model's weights come from, and in what precision they are held."""

from __future__ import annotations

import os
import shutil
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch

from semi.artifacts import config_hash, sha256_of, write_json
from semi.artifacts.manifest import MANIFEST
from semi.assets import cache_dir
from semi.assets.catalog import CORE
from semi.errors import ArtifactError, InputError
from semi.quantised import bitsandbytes_weights, gguf_weights, replace_linears
from semi.quiet import no_bars
from semi_kernels.dispatch import use_triton

if TYPE_CHECKING:
    from semi.merge.language import View

PRECISIONS = ("nf4", "q4_1", "bf16", "fp32")
GGUF_FILE = "SmolLM2-135M-Instruct.Q4_1.gguf"
BESIDE = ("*.json", "*.jinja", "*.model", "merges.txt", "vocab.txt")
"""Configuration, chat template and tokenizer: with the weights, all that makes a folder the model it is."""
_FILES = ("*.safetensors", *BESIDE)
_COMPLETE, _SHA256 = "complete.json", "weights.sha256"
CACHED = (_COMPLETE, _SHA256)
"""Files beside a model that is kept in the cache; they say nothing of what is made of that model."""


@dataclass(frozen=True)
class Loaded:
    """A language model in memory and what it was made from."""

    model: Any
    tokenizer: Any
    precision: str
    sha256: str
    """Of the files it is made from, as stored: weights, configuration and tokenizer."""
    view: View | None = None
    """What a merge shows of itself; None: it is no merge."""


def find_device(name: torch.device | str | None) -> torch.device:
    """A device by its name; None: a GPU if there is one, else the CPU.

    Raises:
        InputError: PyTorch has no device of that name here.
    """
    if name is None:
        return torch.device("cuda" if torch.cuda.is_available() else "cpu")
    try:
        torch.zeros(1, device=name).item()
    except (RuntimeError, AssertionError) as error:  # the latter where PyTorch was built without CUDA
        raise InputError(
            f"no device {str(name)!r} that PyTorch can use here",
            got=str(error).partition("\n")[0],
            expected="cpu" + (", cuda or cuda:NUMBER" if torch.cuda.is_available() else ": there is no CUDA"),
            do="give none: the GPU is taken where there is one",
        ) from error
    return torch.device(name)


def load(name: str, precision: str | None, device: torch.device, base: str | Path | None = None) -> Loaded:
    """A causal language model by asset name, folder, hub id or as `semi.merge.language.MergeName` names one of a merge.

    Assets that are 4-bit already keep their own code (q4_1, dequantised once to bf16 and cached: quantising SmolLM2
    again to NF4 costs 0.28 nats a token); models in 16 bits default to NF4 with double quantisation. On a GPU, linear
    layers of both stay in 4 bits and our kernels compute them; SEMI_KERNELS=reference leaves them to PyTorch (in bf16)
    and bitsandbytes. Merges are in the precision of their base, see `semi.merge.language.LoadedMerge`.

    What it computes in is another matter, see `compute_dtype`.

    Args:
        base: the folder of a merge's base, where it is not where the merge found it.

    Raises:
        InputError: the precision does not go with the model, or is unknown; a base for what is no merge.
        ArtifactError: the folder is missing or holds no model.
    """
    if precision is not None and precision not in PRECISIONS:
        raise InputError("unknown precision", got=precision, expected=", ".join(PRECISIONS))
    if merged := _load_merged(name, precision, device, base):
        return merged
    if base is not None:
        raise InputError(f"{name} is no merge, and has no base", got=str(base), do="leave --base out")
    if name in CORE:
        gguf = _gguf(name)
        folder = dequantised(name, gguf)
        return _load(folder, precision or "q4_1", device, gguf, sha256=(folder / _SHA256).read_text())
    if precision == "q4_1":
        raise InputError(
            f"{name} does not come in Q4_1", got="q4_1", expected="nf4, bf16 or fp32", do="drop --precision q4_1"
        )
    if (looks_local := Path(name).is_absolute() or name.startswith(".")) and not Path(name).is_dir():
        raise ArtifactError(f"there is no language model folder {name}", do="check the path")
    if Path(name).is_dir() and not (Path(name) / "config.json").is_file():
        raise ArtifactError(f"{name} holds no language model", expected="config.json and *.safetensors")
    return _load(Path(name) if looks_local or Path(name).is_dir() else name, precision or "nf4", device)


def loaded_view(view: View) -> Loaded:
    """A modality of a merge that is in memory."""
    return Loaded(view.merge.model, view.tokenizer, view.merge.precision, view.sha256, view)


def _load_merged(name: str, precision: str | None, device: torch.device, base: str | Path | None) -> Loaded | None:
    from semi.merge.language import LoadedMerge, MergeName

    if (named := MergeName.parse(name)) is None:
        return None
    return loaded_view(LoadedMerge(named, precision, device, base).view(named.modality))


def _load(
    source: Path | str, precision: str, device: torch.device, gguf: Path | None = None, sha256: str | None = None
) -> Loaded:
    from transformers import AutoModelForCausalLM, AutoTokenizer

    kernels, computed = _kernels_on(device), compute_dtype(precision, device)
    dtype = torch.float32 if precision == "fp32" else torch.bfloat16
    options: dict[str, Any] = {"dtype": dtype, "attn_implementation": "eager", "use_safetensors": True}
    options |= {"output_loading_info": True, "ignore_mismatched_sizes": True}  # both refused below, by name
    if precision == "nf4":
        options["quantization_config"] = _nf4(computed)
    try:
        with no_bars():
            tokenizer = AutoTokenizer.from_pretrained(source)
            loaded: Any = AutoModelForCausalLM.from_pretrained(source, **options)
    except Exception as error:  # transformers and tokenizers raise whatever a damaged file leads them into
        raise unusable(source, error) from error
    model, report = loaded
    _refuse_random_weights(source, report)
    model.requires_grad_(False)
    model.train(False)
    for tensor in (*model.parameters(), *model.buffers()):
        if tensor.dtype == torch.bfloat16:  # not Module.to: it refuses a model that has 4-bit layers
            tensor.data = tensor.data.to(computed)
    if kernels and precision == "q4_1" and gguf is not None:
        replace_linears(model, gguf_weights(gguf, model))  # a third of the bytes, and what bf16 was rounded from
    model = model.to(device)
    if kernels and precision == "nf4":
        replace_linears(model, bitsandbytes_weights(model))
    for layer in model.modules():
        # After a first forward without gradient, bitsandbytes repacks a layer for a CPU kernel that has no backward: on
        # processors with AVX512-BF16 the soft tokens would silently get no gradient. Seen with 0.50.
        if hasattr(layer, "support_avx512bf16_for_cpu"):
            layer.support_avx512bf16_for_cpu = False
    return Loaded(model, tokenizer, precision, sha256 or _hash(source, model))


def compute_dtype(precision: str, device: torch.device) -> torch.dtype:
    """What a language model whose weights are held in `precision` computes in: bf16, or fp32.

    PyTorch multiplies matrices of bf16 fast on GPUs and on CPUs with AVX-512, and number by number on other CPUs: on an
    AMD EPYC 7003 a step of training took over 30 times as long as in fp32. The weights are the same numbers in both.
    """
    slow = device.type == "cpu" and not torch.backends.cpu.get_cpu_capability().startswith("AVX512")
    return torch.float32 if precision == "fp32" or slow else torch.bfloat16


def unusable(source: Path | str, error: Exception) -> ArtifactError:
    """What is said of a model that transformers cannot load."""
    return ArtifactError(
        f"the language model {source} cannot be loaded",
        got=(str(error) or type(error).__name__).splitlines()[0],
        do="give a folder of safetensors, a hub id that can be reached, or an asset that `semi fetch` lists",
    )


def _kernels_on(device: torch.device) -> bool:
    """Whether 4-bit linear layers are ours: on a GPU with Triton, unless SEMI_KERNELS says otherwise."""
    try:
        return use_triton(torch.empty(0, device=device))
    except ValueError as error:
        raise InputError(str(error)) from error


def _refuse_random_weights(source: Path | str, report: dict[str, Any]) -> None:
    """transformers would go on with random numbers where the files lack a weight or hold one of another shape."""
    missing = [f"no {name}" for name in sorted(report["missing_keys"])]
    other = [f"{name} {tuple(got)}, not {tuple(own)}" for name, got, own in sorted(report["mismatched_keys"])]
    if wrong := other + missing:
        raise ArtifactError(
            f"the weights of the language model {source} do not fit its config.json",
            got="; ".join(wrong[:3]) + (f"; and {len(wrong) - 3} more" if len(wrong) > 3 else ""),
            expected="every weight of the model, in its shape",
            do="fetch or copy the model again",
        )


def _nf4(computed: torch.dtype) -> Any:
    try:
        import bitsandbytes  # noqa: F401
    except ImportError as error:
        raise InputError(
            "precision nf4 needs bitsandbytes", do="pip install 'semi-llm[nf4]', or choose --precision bf16"
        ) from error
    from transformers import BitsAndBytesConfig

    return BitsAndBytesConfig(
        load_in_4bit=True,
        bnb_4bit_quant_type="nf4",
        bnb_4bit_use_double_quant=True,
        bnb_4bit_compute_dtype=computed,
    )


def _hash(source: Path | str, model: Any) -> str:
    """Over the names and contents of a folder's files, or the hub's revision where they are in its own cache."""
    if isinstance(source, str):
        return f"hub:{getattr(model.config, '_commit_hash', None) or 'unknown'}"
    files = (file for pattern in _FILES for file in source.glob(pattern))
    # A manifest, of `semi merge export`, says where the folder came from, and is no part of the model.
    return config_hash({file.name: sha256_of(file) for file in files if file.name != MANIFEST})


def asset_folder(name: str) -> Path:
    """The folder that `dequantised` makes of a language model of `semi.assets.CORE`.

    Raises:
        AssetError: it was not fetched.
    """
    return dequantised(name, _gguf(name))


def _gguf(name: str) -> Path:
    return next(CORE[name].folder().rglob(GGUF_FILE))


def dequantised(name: str, gguf: Path) -> Path:
    """The asset's GGUF file as a folder of bf16 safetensors, made once and kept in the cache (about 270 MB)."""
    out = cache_dir() / "language-models" / f"{name}-{CORE[name].archives[0].sha256[:12]}"
    if (out / _COMPLETE).is_file():
        return out
    from transformers import AutoModelForCausalLM, AutoTokenizer

    out.parent.mkdir(parents=True, exist_ok=True)
    staging = Path(tempfile.mkdtemp(prefix=f".{name}-", dir=out.parent))
    try:
        tokenizer = AutoTokenizer.from_pretrained(gguf.parent, gguf_file=gguf.name)
        with no_bars():
            model = AutoModelForCausalLM.from_pretrained(gguf.parent, gguf_file=gguf.name, dtype=torch.float32)
        # The weights are plain numbers from here on, but transformers refuses to save a model that came quantised.
        config = model.config.to_dict()
        config.pop("quantization_config", None)
        plain = AutoModelForCausalLM.from_config(type(model.config)(**config), dtype=torch.bfloat16)
        plain.load_state_dict(model.state_dict())
        plain.generation_config = model.generation_config
        with no_bars():
            plain.save_pretrained(staging)
        tokenizer.save_pretrained(staging)
        # What transformers writes depends on its version; the asset's hash must not.
        (staging / _SHA256).write_text(sha256_of(gguf))
        write_json(staging / _COMPLETE, {"asset": name, "file": GGUF_FILE})
        shutil.rmtree(out, ignore_errors=True)  # what an interrupted earlier version may have left
        os.replace(staging, out)
    finally:
        shutil.rmtree(staging, ignore_errors=True)
    return out
