"""Checkpoint files of PyTorch users to plain numpy tensors and back: the only place of the package that imports torch.

`.safetensors` files are read and written without it.
"""

import argparse
import json
import os
import pickle
import re
import warnings
import zipfile
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from adatad_jax.errors import UserError, one_line

WRAPPERS = ("state_dict", "model", "module")  # a checkpoint may hold its weights under one of these
AVERAGED = "state_dict_ema"  # and their moving average under this
RECORD = "adatad_jax"  # beside them: the configuration and the class list, as text, where this package wrote the file
CONFIG_FILE = "config.json"
# The weights in a Hugging Face directory, in the order its library looks for them; an index lists the shards.
WEIGHT_FILES = (
    "model.safetensors",
    "model.safetensors.index.json",
    "pytorch_model.bin",
    "pytorch_model.bin.index.json",
)
NUMPY_DTYPES = {f"torch.{kind}" for kind in ("float64", "float32", "float16", "bfloat16", "bool")} | {
    f"torch.{sign}int{bits}" for sign in ("", "u") for bits in (8, 16, 32, 64)
}
SAFETENSORS_DTYPES = {"F64", "F32", "F16", "BF16", "BOOL"} | {
    f"{sign}{bits}" for sign in "IU" for bits in (8, 16, 32, 64)
}


@dataclass(frozen=True)
class TensorFile:
    """What a checkpoint file holds.

    Attributes:
      path: the file or Hugging Face directory.
      tensors: name -> tensor of the file's own dtype (bfloat16 as `ml_dtypes.bfloat16`); names as in the file, without
        the wrapper and a leading `module.`.
      averaged: the moving average (`state_dict_ema`), likewise; empty where there is none. A file with nothing else
        has it in `tensors` too.
      config: the `config.json` beside Hugging Face weights; empty where there is none.
      record: what `write_tensors` was given of a detector; empty where there is none.
    """

    path: Path
    tensors: dict[str, np.ndarray]
    averaged: dict[str, np.ndarray]
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)


def read_tensors(path: Path) -> TensorFile:
    """Reads `.pth`, `.pt`, `.bin`, `.safetensors` or a Hugging Face directory; nothing in a file is ever run.

    Large files are mapped into memory where their format allows it, not copied.

    Raises:
      UserError: no such file; truncated or not a checkpoint; a pickle that would run code; no tensors in it; sparse,
        complex or empty tensors; NaN or infinite values: every offending tensor by name.
    """
    if path.is_dir():
        config, files = _hugging_face(path)
    elif path.is_file():
        config, files = _config_beside(path), [path]
    else:
        raise UserError(
            f"{path}: no such file; expected a checkpoint (.pth, .pt, .bin, .safetensors) or a Hugging Face directory"
        )
    plain: dict[str, np.ndarray] = {}
    averaged: dict[str, np.ndarray] = {}
    record: dict[str, Any] = {}
    for file in files:
        contents, text = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
        record |= _parse_record(text, file)
        for whole, part in ((plain, ""), (averaged, AVERAGED)):
            found = _without_module(contents.get(part, {}), path)
            if twice := sorted(whole.keys() & found.keys()):
                raise UserError(f"{path}: {len(twice)} tensors are in several of its files: {', '.join(twice)}")
            whole |= found
    _check_finite({"": plain, f"{AVERAGED}: ": averaged}, path)
    return TensorFile(path, plain or averaged, averaged, config, record)


def write_tensors(
    path: Path,
    state_dict: Mapping[str, np.ndarray],
    averaged: Mapping[str, np.ndarray] | None = None,
    record: Mapping[str, Any] | None = None,
) -> None:
    """Writes tensors under `state_dict` and `state_dict_ema`, as PyTorch users do; the file appears only once whole.

    In a `.safetensors` file, which is flat, both stand in front of the names with a dot; `read_tensors` takes them off.

    Args:
      path: `.pth`, `.pt`, `.bin` or `.safetensors`; its folder is made.
      state_dict: name -> tensor, any dtype torch has.
      averaged: the moving average, likewise.
      record: plain values to keep beside the tensors (`RECORD`), where whoever reads the file elsewhere ignores them.

    Raises:
      UserError: another suffix, or the file cannot be written.
    """
    contents = {WRAPPERS[0]: state_dict} | ({AVERAGED: averaged} if averaged else {})
    if path.suffix not in (".pth", ".pt", ".bin", ".safetensors"):
        raise UserError(f"{path}: expected a name that ends in .pth or .safetensors")
    # Of this process alone: another may be at the same file.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode
        if path.suffix == ".safetensors":
            # The library writes an array's memory as it lies, so that a transposed view would come back wrong.
            flat = {
                f"{wrapper}.{key}": np.require(value, requirements="C")
                for wrapper, tensors in contents.items()
                for key, value in tensors.items()
            }
            save_file(flat, partial, {RECORD: json.dumps(record)} if record else None)
        else:
            nested = {wrapper: {k: _to_torch(v) for k, v in tensors.items()} for wrapper, tensors in contents.items()}
            _torch().save(nested | ({RECORD: json.dumps(record)} if record else {}), partial)
        partial.chmod(mode)  # the library of .safetensors lets nobody else read its files
        partial.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({one_line(error)}); make room, or choose another path") from error
    finally:
        if partial.exists():
            partial.unlink()


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "reading or writing a PyTorch checkpoint needs torch, which is not installed: "
            'pip install "adatad-jax[convert]" (or use .safetensors, or weights converted by convert/pth_to_flax.py)'
        ) from error
    return torch


def _to_torch(value: np.ndarray) -> Any:
    value = np.require(value, requirements=["C", "W"])
    if value.dtype == ml_dtypes.bfloat16:  # numpy's bfloat16 is not known to torch, its bits are
        return _torch().from_numpy(value.view(np.int16)).view(_torch().bfloat16)
    return _torch().from_numpy(value)


def _read_torch(path: Path) -> tuple[dict[str, dict[str, np.ndarray]], Any]:
    """The tensors of a torch file: under "" the weights, under `AVERAGED` their average, if there; and its record."""
    torch = _torch()
    is_zip = zipfile.is_zipfile(path)
    try:
        with torch.serialization.safe_globals(_harmless()), warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of files that are refused below
            content = torch.load(path, map_location="cpu", weights_only=True, mmap=is_zip)
        if is_zip:
            _check_sums(path)
    # Whatever the library raises over damaged files.
    except Exception as error:
        code = re.search(r"GLOBAL (\S+)", str(error)) if isinstance(error, pickle.UnpicklingError) else None
        if code:
            raise UserError(
                f"{path}: refused: it holds more than tensors and would run code when read ({code[1]}). Save only the "
                "state_dict with torch.save, and try again"
            ) from error
        why = f"{type(error).__name__}: {one_line(error, 100)}"
        if path.stat().st_size == 0:
            why = "it is empty"
        elif "weights_only" in str(error):  # torch's advice is to run what may be in there
            why = "not tensors as torch.save writes them"
        raise UserError(
            f"{path}: not a PyTorch checkpoint, or truncated or damaged ({why}); fetch it again, or save the model's "
            "state_dict with torch.save"
        ) from error
    found: dict[str, dict[str, Any]] = {"": {}, AVERAGED: {}}
    if isinstance(content, Mapping):
        found[AVERAGED] = _weights(content.get(AVERAGED), torch)
        # Beside an average, tensors at the top level are counters and the like, no weights.
        found[""] = _weights({k: content.get(k) for k in WRAPPERS} if found[AVERAGED] else content, torch)
    if not any(found.values()):
        raise UserError(
            f"{path}: holds no tensors at its top level or under {', '.join((*WRAPPERS, AVERAGED))}; found "
            f"{type(content).__name__}"
        )
    unfit = [
        f"{key} ({_kind(tensor, torch)}, {tuple(tensor.shape)})"
        for tensors in found.values()
        for key, tensor in tensors.items()
        if _kind(tensor, torch) not in NUMPY_DTYPES or tensor.numel() == 0
    ]
    _refuse_unfit(unfit, path)
    parts = {part: {key: _to_numpy(t, torch) for key, t in tensors.items()} for part, tensors in found.items()}
    return parts, content.get(RECORD)


def _check_sums(path: Path) -> None:
    """Raises `BadZipFile` where a tensor in a zip file differs from its checksum, at which torch never looks."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as content:
                while member.CRC and content.read(2**20):  # torch can be told to leave the sums 0
                    pass


def _harmless() -> list[Any]:
    """What training scripts leave beside the weights and runs nothing: options, and numpy's numbers and arrays."""
    scalar, reconstruct = np.float64(0).__reduce__()[0], np.zeros(1).__reduce__()[0]
    kinds = {type(np.dtype(kind)) for kind in "?bBhHiIlLqQefd"}
    # numpy 1 wrote the same functions under another name.
    old = [(scalar, "numpy.core.multiarray.scalar"), (reconstruct, "numpy.core.multiarray._reconstruct")]
    return [argparse.Namespace, np.ndarray, np.dtype, scalar, reconstruct, *old, *kinds]


def _weights(content: Any, torch: Any, depth: int = 2) -> dict[str, Any]:
    """The tensors in a wrapper, or in a wrapper's wrapper, or at the level itself."""
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS if depth else ():
        if wrapped := _weights(content.get(wrapper), torch, depth - 1):
            return wrapped
    return {str(key): value.detach() for key, value in content.items() if isinstance(value, torch.Tensor)}


def _kind(tensor: Any, torch: Any) -> str:
    return str(tensor.dtype) if tensor.layout == torch.strided and not tensor.is_meta else "sparse or without values"


def _to_numpy(tensor: Any, torch: Any) -> np.ndarray:
    if tensor.dtype == torch.bfloat16:
        return tensor.view(torch.int16).numpy().view(ml_dtypes.bfloat16)
    return tensor.numpy()


def _is_safetensors(path: Path) -> bool:
    """By its suffix, or by its first bytes: the header's length, then the header, which is JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(10)[8:] == b'{"'


def _read_safetensors(path: Path) -> tuple[dict[str, dict[str, np.ndarray]], Any]:
    """As `_read_torch`, of a `.safetensors` file."""
    try:
        with safe_open(path, framework="np") as file:
            kinds = {key: (file.get_slice(key).get_dtype(), file.get_slice(key).get_shape()) for key in file.keys()}  # noqa: SIM118
            _refuse_unfit(
                [
                    f"{key} ({dtype}, {tuple(shape)})"
                    for key, (dtype, shape) in kinds.items()
                    if dtype not in SAFETENSORS_DTYPES or 0 in shape
                ],
                path,
            )
            flat = {key: file.get_tensor(key) for key in kinds}
            record = (file.metadata() or {}).get(RECORD)
    except (SafetensorError, OSError) as error:
        raise UserError(f"{path}: not a .safetensors file, or truncated ({one_line(error)}): fetch it again") from error
    if not flat:
        raise UserError(f"{path}: holds no tensors")
    wrapped = {"": f"{WRAPPERS[0]}.", AVERAGED: f"{AVERAGED}."}
    if not all(key.startswith(tuple(wrapped.values())) for key in flat):
        return {"": flat}, record
    parts = {
        part: {key.removeprefix(wrapper): value for key, value in flat.items() if key.startswith(wrapper)}
        for part, wrapper in wrapped.items()
    }
    return parts, record


def _parse_record(text: Any, path: Path) -> dict[str, Any]:
    """The record of a detector, {"config": {field: value}, "classes": [name, ...]}."""
    if text is None:
        return {}
    try:
        record = json.loads(text)
        if isinstance(record["config"], dict) and all(isinstance(name, str) for name in record["classes"]):
            return record
    except (TypeError, ValueError, KeyError):
        pass
    raise UserError(f'{path}: its record "{RECORD}" is not one that convert/flax_to_pth.py writes: write the file anew')


def _refuse_unfit(unfit: list[str], path: Path) -> None:
    if unfit:
        raise UserError(f"{path}: {len(unfit)} tensors are sparse, complex, empty or quantised: {', '.join(unfit)}")


def _without_module(tensors: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Takes `module.` off the names, which torch's data-parallel wrappers put there, each once more."""
    names = {key: re.sub(r"^(module\.)+", "", key) for key in tensors}
    twice = sorted(key for key in names if names[key] != key and names[key] in names)
    if twice:
        raise UserError(f"{path}: {len(twice)} tensors are there with and without 'module.': {', '.join(twice)}")
    return {names[key]: value for key, value in tensors.items()}


def _check_finite(parts: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    broken = [
        part + key
        for part, tensors in parts.items()
        for key, value in tensors.items()
        if jnp.issubdtype(value.dtype, jnp.floating) and not _is_finite(value)
    ]
    if broken:
        raise UserError(f"{path}: {len(broken)} tensors hold NaN or infinite values: {', '.join(broken)}")


def _is_finite(value: np.ndarray) -> bool:
    """Whether all values are finite, as float32 too."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(value.astype(np.float32) if value.dtype == np.float64 else value).all())


def _hugging_face(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """The configuration and the weight files of a Hugging Face directory."""
    weights = next((folder / name for name in WEIGHT_FILES if (folder / name).is_file()), None)
    if weights is None or not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"{folder}: not a Hugging Face directory; expected {CONFIG_FILE} and one of {', '.join(WEIGHT_FILES)} in it"
        )
    config = _read_json(folder / CONFIG_FILE)
    if weights.suffix != ".json":
        return config, [weights]
    shards = _read_json(weights).get("weight_map")
    if not isinstance(shards, dict) or not shards:
        raise UserError(f"{weights}: expected a weight_map that names the file of every tensor: fetch it again")
    files = [folder / Path(name).name for name in sorted({str(name) for name in shards.values()})]
    if absent := [file.name for file in files if not file.is_file()]:
        raise UserError(f"{folder}: {weights.name} lists files that are not there: {', '.join(absent)}")
    return config, files


def _config_beside(path: Path) -> dict[str, Any]:
    """The Hugging Face configuration in the folder of a weight file, which may hold others' `config.json` too."""
    beside = path.with_name(CONFIG_FILE)
    if path.suffix not in (".bin", ".safetensors") or not beside.is_file():
        return {}
    config = _read_json(beside)
    return config if "model_type" in config else {}


def _read_json(path: Path) -> dict[str, Any]:
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a JSON file ({one_line(error)}): fetch it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content
