"""Reading and writing of PyTorch checkpoint files as NumPy arrays; no other module of the package imports torch.

`.safetensors` files are read and written without torch.
"""

import json
import os
import re
import zipfile
from collections import Counter
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, NamedTuple

import jax.numpy as jnp
import ml_dtypes
import numpy as np
from safetensors import SafetensorError, safe_open
from safetensors.numpy import save_file

from adatad_jax.conversion.inert_pickle import UnknownTensorError, WouldRunError, foreign_words, load_without_code
from adatad_jax.errors import UserError, one_line

WRAPPERS = ("state_dict", "model", "module")  # keys under one of which a checkpoint may hold its weights
AVERAGED = "state_dict_ema"  # key of their moving average
RECORD = "adatad_jax"  # key of the configuration and class list, as text, in files that this package wrote
CONFIG_FILE = "config.json"
# Weight files in a Hugging Face directory, in the order in which its library looks for them; an index lists shards.
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
    """The contents of a checkpoint file.

    Attributes:
      path: the file or Hugging Face directory.
      tensors: name -> tensor of the file's own dtype (bfloat16 as `ml_dtypes.bfloat16`); names as in the file, without
        the wrapper and a leading `module.`.
      averaged: the moving average (`state_dict_ema`) in the same form; empty if there is none. If the file holds
        nothing else, `tensors` is the average too.
      config: the `config.json` beside Hugging Face weights; empty if there is none.
      record: the record that `write_tensors` was given for a detector; empty if there is none.
      foreign: name of a foreign class -> number of its objects, which were replaced by stand-ins (`inert_pickle`).
    """

    path: Path
    tensors: dict[str, np.ndarray]
    averaged: dict[str, np.ndarray]
    config: dict[str, Any] = field(default_factory=dict)
    record: dict[str, Any] = field(default_factory=dict)
    foreign: dict[str, int] = field(default_factory=dict)


def foreign_note(file: TensorFile) -> str:
    """Returns a note on the foreign classes of a file for its conversion summary; empty if there are none."""
    if not file.foreign:
        return ""
    return (
        f"{sum(file.foreign.values())} objects of foreign classes beside the tensors, read as inert stand-ins and not "
        f"used: {foreign_words(file.foreign)}"
    )


def read_tensors(path: Path) -> TensorFile:
    """Reads a `.pth`, `.pt`, `.bin` or `.safetensors` file or a Hugging Face directory; never runs code in a file.

    Objects of foreign classes beside the tensors, which training scripts store, are replaced by stand-ins and counted.
    Large files are mapped into memory instead of copied where their format allows it.

    Raises:
      UserError: the file does not exist, is truncated or is not a checkpoint; it is a pickle that would run code; it
        holds no tensors; tensors are sparse, complex, empty or quantised, or hold NaN or infinite values (lists every
        such tensor by name).
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
    foreign: Counter[str] = Counter()
    for file in files:
        contents = _read_safetensors(file) if _is_safetensors(file) else _read_torch(file)
        record |= _parse_record(contents.record, file)
        foreign.update(contents.foreign)
        for whole, part in ((plain, ""), (averaged, AVERAGED)):
            found = _without_module(contents.parts.get(part, {}), path)
            if twice := sorted(whole.keys() & found.keys()):
                raise UserError(f"{path}: {len(twice)} tensors are in several of its files: {', '.join(twice)}")
            whole |= found
    _check_finite({"": plain, f"{AVERAGED}: ": averaged}, path)
    return TensorFile(path, plain or averaged, averaged, config, record, dict(foreign))


def write_tensors(
    path: Path,
    state_dict: Mapping[str, np.ndarray],
    averaged: Mapping[str, np.ndarray] | None = None,
    record: Mapping[str, Any] | None = None,
    wrapper: str = WRAPPERS[0],
) -> None:
    """Writes tensors under `state_dict` and `state_dict_ema`, as is usual in PyTorch; the file appears once complete.

    A `.safetensors` file is flat: there, each of the two is a prefix of the names, with a dot; `read_tensors` removes
    the prefix.

    Args:
      path: a `.pth`, `.pt`, `.bin` or `.safetensors` file; its folder is made.
      state_dict: name -> tensor, of any dtype that torch has.
      averaged: the moving average in the same form.
      record: plain values to store beside the tensors (under `RECORD`); other programs that read the file ignore them.
      wrapper: key of the tensors in place of `state_dict`; in `.safetensors` it may be empty: no prefix.

    Raises:
      UserError: the file has another suffix, or cannot be written.
    """
    contents = {wrapper: state_dict} | ({AVERAGED: averaged} if averaged else {})
    if path.suffix not in (".pth", ".pt", ".bin", ".safetensors"):
        raise UserError(f"{path}: expected a name that ends in .pth or .safetensors")
    # Named after this process: another process may be writing the same file.
    partial = path.with_name(f".{path.name}.{os.getpid()}.partial")
    try:
        path.parent.mkdir(parents=True, exist_ok=True)
        partial.touch()
        mode = partial.stat().st_mode
        if path.suffix == ".safetensors":
            # The library writes memory as it is laid out, so a transposed view would be read back wrong.
            flat = {
                f"{part}.{key}" if part else key: np.require(value, requirements="C")
                for part, tensors in contents.items()
                for key, value in tensors.items()
            }
            # transformers refuses files that do not say that they are PyTorch's.
            save_file(flat, partial, {"format": "pt"} | ({RECORD: json.dumps(record)} if record else {}))
        else:
            nested = {part: {k: _to_torch(v) for k, v in tensors.items()} for part, tensors in contents.items()}
            _torch().save(nested | ({RECORD: json.dumps(record)} if record else {}), partial)
        partial.chmod(mode)  # safetensors makes files that only their owner can read
        partial.replace(path)
    except (OSError, RuntimeError, SafetensorError) as error:
        raise UserError(f"{path}: cannot be written ({one_line(error)}); make room, or choose another path") from error
    finally:
        if partial.exists():
            partial.unlink()


def _torch() -> Any:
    """Imports torch, or raises `UserError` that says how to install it."""
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "reading or writing a PyTorch checkpoint needs torch, which is not installed: "
            'pip install "adatad-jax[convert]" (or use .safetensors, or weights converted by convert/pth_to_flax.py)'
        ) from error
    return torch


def _to_torch(value: np.ndarray) -> Any:
    """Converts a NumPy array to a torch tensor."""
    value = np.require(value, requirements=["C", "W"])
    if value.dtype == ml_dtypes.bfloat16:  # torch does not know ml_dtypes' bfloat16, but takes its bits
        return _torch().from_numpy(value.view(np.int16)).view(_torch().bfloat16)
    return _torch().from_numpy(value)


class _Contents(NamedTuple):
    """What a file holds.

    Attributes:
      parts: the weights under "", and their average (or nothing) under `AVERAGED`.
      record: the record as text; None without one.
      foreign: name of a foreign class -> number of its objects, which were replaced by stand-ins.
    """

    parts: dict[str, dict[str, np.ndarray]]
    record: Any
    foreign: Mapping[str, int]


def _read_torch(path: Path) -> _Contents:
    """Reads a torch file."""
    torch = _torch()
    is_zip = zipfile.is_zipfile(path)
    try:
        content, foreign = load_without_code(path, is_zip, torch)
        if is_zip:
            _check_sums(path)
    except WouldRunError as error:
        raise UserError(
            f"{path}: refused: it would run code when read ({error}). Save only the state_dict with torch.save, and "
            "try again"
        ) from error
    # torch raises errors of many types for damaged files.
    except Exception as error:
        raise _damaged(path, error) from error
    found: dict[str, dict[str, Any]] = {"": {}, AVERAGED: {}}
    if isinstance(content, Mapping):
        found[AVERAGED] = _weights(content.get(AVERAGED), torch)
        # Beside an average, tensors at the top level are counters and the like, not weights.
        found[""] = _weights({k: content.get(k) for k in WRAPPERS} if found[AVERAGED] else content, torch)
    if not any(found.values()):
        whole = f"objects of {foreign_words(foreign)}: if a model was saved whole, save its state_dict() instead"
        raise UserError(
            f"{path}: holds no tensors at its top level or under {', '.join((*WRAPPERS, AVERAGED))}; found "
            + (whole if foreign else type(content).__name__)
        )
    unfit = [
        f"{key} ({_kind(tensor, torch)}, {tuple(tensor.shape)})"
        for tensors in found.values()
        for key, tensor in tensors.items()
        if _kind(tensor, torch) not in NUMPY_DTYPES or tensor.numel() == 0
    ]
    _refuse_unfit(unfit, path)
    parts = {part: {key: _to_numpy(t, torch) for key, t in tensors.items()} for part, tensors in found.items()}
    return _Contents(parts, content.get(RECORD), foreign)


def _damaged(path: Path, error: Exception) -> UserError:
    """Returns the error for a file that torch does not read."""
    why = f"{type(error).__name__}: {one_line(error, 100)}"
    if path.stat().st_size == 0:
        why = "it is empty"
    elif "weights_only" in str(error):  # torch's advice is to run whatever code the file holds
        why = "it does not hold tensors as torch.save writes them"
    elif isinstance(error, UnknownTensorError):
        return UserError(f"{path}: {error}, which is not supported: save dense tensors of numbers")
    return UserError(
        f"{path}: not a PyTorch checkpoint, or truncated or damaged ({why}); fetch it again, or save the model's "
        "state_dict with torch.save"
    )


def _check_sums(path: Path) -> None:
    """Checks the tensors in a zip file against their checksums, which torch ignores; raises `BadZipFile`."""
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            with archive.open(member) as content:
                while member.CRC and content.read(2**20):  # torch can be told to write zeros as checksums
                    pass


def _weights(content: Any, torch: Any, depth: int = 2) -> dict[str, Any]:
    """Returns the tensors in a wrapper, or in a wrapper within a wrapper, or at this level itself."""
    if not isinstance(content, Mapping):
        return {}
    for wrapper in WRAPPERS if depth else ():
        if wrapped := _weights(content.get(wrapper), torch, depth - 1):
            return wrapped
    return {str(key): value.detach() for key, value in content.items() if isinstance(value, torch.Tensor)}


def _kind(tensor: Any, torch: Any) -> str:
    """Returns the name of a tensor's dtype, or why it has no dense values."""
    return str(tensor.dtype) if tensor.layout == torch.strided and not tensor.is_meta else "sparse or without values"


def _to_numpy(tensor: Any, torch: Any) -> np.ndarray:
    """Converts a torch tensor to a NumPy array that shares its memory."""
    is_bfloat16 = tensor.dtype == torch.bfloat16  # NumPy takes its bits only
    value: np.ndarray = (tensor.view(torch.int16) if is_bfloat16 else tensor).numpy()
    return value.view(ml_dtypes.bfloat16) if is_bfloat16 else value


def _is_safetensors(path: Path) -> bool:
    """Recognises a file by its suffix, or by its first bytes: the length of the header, then the header in JSON."""
    with path.open("rb") as file:
        return path.suffix == ".safetensors" or file.read(10)[8:] == b'{"'


def _read_safetensors(path: Path) -> _Contents:
    """Reads a `.safetensors` file."""
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
        return _Contents({"": flat}, record, {})
    parts = {
        part: {key.removeprefix(wrapper): value for key, value in flat.items() if key.startswith(wrapper)}
        for part, wrapper in wrapped.items()
    }
    return _Contents(parts, record, {})


def _parse_record(text: Any, path: Path) -> dict[str, Any]:
    """Parses the record of a detector, {"config": {field: value}, "classes": [name, ...]}; {} without a record."""
    if text is None:
        return {}
    try:
        record: dict[str, Any] = json.loads(text)
        if isinstance(record["config"], dict) and all(isinstance(name, str) for name in record["classes"]):
            return record
    except (TypeError, ValueError, KeyError):
        pass
    raise UserError(f'{path}: its record "{RECORD}" is not one that convert/flax_to_pth.py writes: export it again')


def _refuse_unfit(unfit: list[str], path: Path) -> None:
    """Raises `UserError` if tensors cannot be read as plain arrays; `unfit` names them."""
    if unfit:
        raise UserError(f"{path}: {len(unfit)} tensors are sparse, complex, empty or quantised: {', '.join(unfit)}")


def _without_module(tensors: Mapping[str, np.ndarray], path: Path) -> dict[str, np.ndarray]:
    """Removes the prefixes `module.`, of which each of torch's data-parallel wrappers adds one."""
    names = {key: re.sub(r"^(module\.)+", "", key) for key in tensors}
    twice = sorted(key for key in names if names[key] != key and names[key] in names)
    if twice:
        raise UserError(f"{path}: {len(twice)} tensors are present both with and without 'module.': {', '.join(twice)}")
    return {names[key]: value for key, value in tensors.items()}


def _check_finite(parts: Mapping[str, Mapping[str, np.ndarray]], path: Path) -> None:
    """Checks that all tensors are finite; `parts` maps a prefix for messages to tensors by name."""
    broken = [
        part + key
        for part, tensors in parts.items()
        for key, value in tensors.items()
        if jnp.issubdtype(value.dtype, jnp.floating) and not _is_finite(value)
    ]
    if broken:
        raise UserError(f"{path}: {len(broken)} tensors hold NaN or infinite values: {', '.join(broken)}")


def _is_finite(value: np.ndarray) -> bool:
    """Checks whether all values are finite, also after conversion to float32."""
    with np.errstate(over="ignore"):
        return bool(np.isfinite(value.astype(np.float32) if value.dtype == np.float64 else value).all())


def _hugging_face(folder: Path) -> tuple[dict[str, Any], list[Path]]:
    """Reads the configuration of a Hugging Face directory, and finds its weight files."""
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
        raise UserError(f"{folder}: {weights.name} lists files that do not exist: {', '.join(absent)}")
    return config, files


def _config_beside(path: Path) -> dict[str, Any]:
    """Reads the Hugging Face configuration beside a weight file; ignores a `config.json` of another program."""
    beside = path.with_name(CONFIG_FILE)
    if path.suffix not in (".bin", ".safetensors") or not beside.is_file():
        return {}
    config = _read_json(beside)
    return config if "model_type" in config else {}


def _read_json(path: Path) -> dict[str, Any]:
    """Reads a JSON file that holds an object."""
    try:
        content = json.loads(path.read_text())
    except (OSError, ValueError) as error:
        raise UserError(f"{path}: not a JSON file ({one_line(error)}): fetch it again") from error
    if not isinstance(content, dict):
        raise UserError(f"{path}: expected a JSON object, found {type(content).__name__}")
    return content
