"""PyTorch checkpoint files to plain numpy tensors and back: the only place of the package that imports torch."""

import pickle
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np

from adatad_jax.errors import UserError

WRAPPERS = ("state_dict", "model", "module")  # a checkpoint may hold its weights under one of these


def _torch() -> Any:
    try:
        import torch
    except ImportError as error:
        raise UserError(
            "reading or writing a PyTorch checkpoint needs torch, which is not installed: "
            'pip install "adatad-jax[convert]" (or use weights already converted by convert/pth_to_flax.py)'
        ) from error
    return torch


def load_state_dict(path: Path) -> dict[str, np.ndarray]:
    """Reads the weights of a `.pth`; nothing in the file is ever run (`weights_only=True`).

    Returns:
      Name -> tensor; floating tensors as float32, a wrapping `state_dict` and a `module.` prefix taken off.

    Raises:
      UserError: no such file; truncated or not a checkpoint; a pickle that would run code; no tensors in it; NaN or
        infinite values.
    """
    torch = _torch()
    if not path.is_file():
        raise UserError(f"{path}: no such file; expected a PyTorch checkpoint (.pth)")
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except pickle.UnpicklingError as error:
        raise UserError(
            f"{path}: refused: it is not a PyTorch checkpoint, or it holds more than tensors and would run code when "
            "read. Save only the state_dict with torch.save, and try again"
        ) from error
    except (RuntimeError, EOFError, ValueError, KeyError, OSError, AttributeError, TypeError) as error:
        reason = str(error).split("\n")[0]
        raise UserError(f"{path}: not a PyTorch checkpoint, or truncated ({reason}): fetch it again") from error
    for wrapper in WRAPPERS:
        if isinstance(content, Mapping) and isinstance(content.get(wrapper), Mapping):
            content = content[wrapper]
            break
    tensors = {}
    if isinstance(content, Mapping):
        tensors = {str(k).removeprefix("module."): v for k, v in content.items() if isinstance(v, torch.Tensor)}
    if not tensors:
        raise UserError(
            f"{path}: holds no tensors at its top level or under {', '.join(WRAPPERS)}; found {type(content).__name__}"
        )
    unfit = [
        f"{key} ({'sparse' if t.layout != torch.strided else t.dtype}, {tuple(t.shape)})"
        for key, t in tensors.items()
        if t.layout != torch.strided or t.is_complex() or t.numel() == 0
    ]
    if unfit:
        raise UserError(f"{path}: {len(unfit)} tensors are sparse, complex or empty: {', '.join(unfit[:20])}")
    state = {key: (t.float() if t.is_floating_point() else t).numpy() for key, t in tensors.items()}
    broken = [key for key, value in state.items() if not np.isfinite(value).all()]
    if broken:
        raise UserError(f"{path}: {len(broken)} tensors hold NaN or infinite values: {', '.join(broken)}")
    return state


def save_state_dict(path: Path, state: Mapping[str, np.ndarray]) -> None:
    """Writes tensors as PyTorch users do: `torch.save({"state_dict": ...})`."""
    torch = _torch()
    path.parent.mkdir(parents=True, exist_ok=True)
    torch.save({"state_dict": {key: torch.from_numpy(np.array(value)) for key, value in state.items()}}, path)
