"""Conversion of a whole AdaTAD detector between the PyTorch release's tensors and this package's parameters.

The release saves two states, the parameters as trained and their running average. Each state has every tensor of the
model, including buffers and frozen tensors. Whatever the parameters here do not reproduce bit for bit (unused tensors,
tensors of another precision) is kept beside them for export, so that the file can be written again exactly.
"""

import functools
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

from adatad_jax.conversion.assembly import POSITION_TOLERANCE, check_shapes
from adatad_jax.conversion.dimensions import POSITIONS, backbone_words
from adatad_jax.conversion.folders import on_host
from adatad_jax.conversion.layout import BACKBONE_PREFIX, Leaf, model_leaves
from adatad_jax.conversion.torch_file import TensorFile
from adatad_jax.errors import UserError
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.layers import Params
from adatad_jax.models.positions import sinusoid_table
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, ViTConfig

Tensors = dict[str, np.ndarray]

STATE, AVERAGED = "state_dict", "state_dict_ema"
CLASSIFIER_NORM = f"{BACKBONE_PREFIX}fc_norm."
NORMALIZER = "rpn_head.loss_normalizer"


@dataclass(frozen=True)
class ConvertedDetector:
    """A converted detector, and what became of each tensor.

    Attributes:
      params: parameters of an `AdaTAD`, from the state as trained, or from the average if the file has nothing else.
      ema: `a/b/c` -> averaged leaf, for every leaf whose average differs. This includes frozen leaves that the
        release's averaging moved by rounding, since the release evaluates those values.
      unused: state -> tensor -> value: the tensors kept for export, which `to_states` cannot derive from the
        parameters.
      states: names of the states in the file.
      read: number of tensors per state.
      groups: part of the model -> numbers of tensors and of parameters.
      kept: unused tensor -> why it is not used.
    """

    params: Params
    ema: Tensors
    unused: dict[str, Tensors]
    states: tuple[str, ...]
    read: int
    groups: dict[str, tuple[int, int]]
    kept: dict[str, str]

    @property
    def mapped(self) -> int:
        """Returns the number of tensors that became parameters."""
        return sum(tensors for tensors, _ in self.groups.values())

    def _averages(self) -> str:
        """Describes the averages, and says which weights are evaluated."""
        if self.states == (AVERAGED,):
            return "are the only weights in the file; they are evaluated"
        if self.states == (STATE,):
            return "none in the file; the weights as trained are evaluated"
        arrays = len(jax.tree.leaves(self.params))
        return f"{len(self.ema)} of {arrays} arrays differ from the weights as trained; the averages are evaluated"

    def summary(self) -> str:
        """Returns the conversion summary, for a terminal."""
        unlike = {str(v.dtype) for v in self.unused[STATE].values() if v.dtype.kind not in "iub"} - {"float32"}
        lines = [
            f"read     {self.read} tensors in {' and '.join(self.states)}",
            f"mapped   {self.mapped} tensors, {sum(size for _, size in self.groups.values()):,} parameters:",
            *(f"  {name}: {tensors} tensors, {size:,} parameters" for name, (tensors, size) in self.groups.items()),
            f"averages {self._averages()}",
            f"unused   {len(self.kept)} tensors, kept for export:",
            *(f"  {key}: {reason}" for key, reason in self.kept.items()),
        ]
        if "pos_embed" in self.params["backbone"]:
            lines.append(f"{POSITIONS}: not the fixed sinusoid table; the file's own is used, resized to the frames")
        if unlike:
            lines.append(f"tensors in {', '.join(sorted(unlike))} are used as float32, and kept as they are for export")
        return "\n".join(lines)


def convert_detector(file: TensorFile, model: AdaTAD) -> ConvertedDetector:
    """Converts the tensors of a detector file to the parameters of a model.

    Args:
      file: the file of a whole detector.
      model: the model that the file's configuration describes.

    Raises:
      UserError: tensors of either state are missing, have a wrong shape or type, or are unknown; lists all of them.
    """
    vit = model.vit
    leaves, shapes = list(model_leaves(vit, model.detector_config)), model_shapes(model)
    is_average = file.averaged is file.tensors  # the file has no weights as trained
    states = {STATE: file.tensors}
    if file.averaged and not is_average:
        states[AVERAGED] = file.averaged
    problems = [
        f"{line} (in {name})" if len(states) > 1 else line
        for name, state in states.items()
        for line in _problems(leaves, shapes, state, vit)
    ]
    if problems:
        raise UserError(
            f"{file.path}: {len(problems)} tensors do not fit an AdaTAD detector of {backbone_words(vit)}, detector "
            f"width {model.detector_config.width}:\n  " + "\n  ".join(problems) + _hint(problems, file.path)
        )
    learned = any(_positions_apart(state) > POSITION_TOLERANCE for state in states.values())

    def arrays(state: Tensors) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
        """Yields path and value of every leaf in a state."""
        for leaf in leaves:
            yield leaf.path, np.asarray(on_host(leaf.read(state)))
        if learned:
            table = next(one[POSITIONS] for one in (state, *states.values()) if POSITIONS in one)
            yield ("backbone", "pos_embed"), np.asarray(table[0], np.float32)

    params = dict(arrays(file.tensors))
    averages = arrays(states[AVERAGED]) if AVERAGED in states else ()
    ema = {"/".join(path): value for path, value in averages if not same_bits(value, params[path])}
    kept = {key: reason for key in file.tensors if (reason := _spare(key, file.tensors))}
    if learned:
        kept.pop(POSITIONS, None)
    nested = flax.traverse_util.unflatten_dict(params)
    unused: dict[str, Tensors] = {STATE: {}, AVERAGED: {}}
    for name, state in states.items():
        written = dict(zip((STATE, AVERAGED), to_states(nested, ema, unused, model), strict=True))[name]
        unused[name] = {
            key: value for key, value in state.items() if key not in written or not same_bits(value, written[key])
        }
    names = (AVERAGED,) if is_average else tuple(states)
    return ConvertedDetector(nested, ema, unused, names, len(file.tensors), _groups(leaves, params), kept)


def _hint(problems: Iterable[str], path: Path) -> str:
    """Returns what to do about a head with tensors of its own; empty if the head has none."""
    if not any(re.match(r"unknown: (?!backbone\.)", problem) for problem in problems):
        return ""
    return (
        f"\nTo train from its backbone and adapters alone: adatad convert {path} FOLDER --backbone-only, then "
        "--config.weights=FOLDER"
    )


def to_states(params: Params, ema: Tensors, unused: Mapping[str, Tensors], model: AdaTAD) -> tuple[Tensors, Tensors]:
    """Writes parameters as the release's two states: the inverse of `convert_detector`.

    Args:
      params, ema, unused: as in `ConvertedDetector`; the tensors kept for export (`unused`) override what the
        parameters give.
      model: the model of these parameters.

    Returns:
      The state as trained and the averaged state, each with all its tensors by name.
    """
    leaves = {"/".join(leaf.path): leaf for leaf in model_leaves(model.vit, model.detector_config)}

    def write(flat: Mapping[str, np.ndarray]) -> Tensors:
        """Returns the tensors of leaves, which are given as `a/b/c` -> value."""
        tensors: Tensors = {}
        for path, value in flat.items():
            if path == "backbone/pos_embed":
                tensors[POSITIONS] = np.asarray(value)[None]
            else:
                tensors |= leaves[path].write(value)
        return tensors

    state = {**write(flax.traverse_util.flatten_dict(params, sep="/")), **unused.get(STATE, {})}
    return state, {**state, **write(ema), **unused.get(AVERAGED, {})}


@functools.cache
def model_shapes(model: AdaTAD) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Returns path -> shape for every parameter of a model."""
    side = model.vit.patch
    frames = jax.ShapeDtypeStruct((1, CHUNK_FRAMES, side, side, 3), jnp.uint8)
    mask = jax.ShapeDtypeStruct((1, CHUNK_FRAMES), bool)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"]
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes).items()}


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Checks whether two arrays are equal bit for bit, in dtype and in shape."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _groups(leaves: Iterable[Leaf], params: Mapping[tuple[str, ...], np.ndarray]) -> dict[str, tuple[int, int]]:
    """Returns part of the model -> numbers of tensors and of parameters."""
    tensors = {leaf.path: len(leaf.keys) for leaf in leaves}
    groups: dict[str, tuple[int, int]] = {}
    for path, value in params.items():
        name = "adapters" if "tia" in path else path[0] if path[0] == "backbone" else path[1]
        count, size = groups.get(name, (0, 0))
        groups[name] = count + tensors.get(path, 1), size + value.size
    return groups


def _problems(
    leaves: Iterable[Leaf],
    shapes: Mapping[tuple[str, ...], tuple[int, ...]],
    state: Mapping[str, np.ndarray],
    vit: ViTConfig,
) -> list[str]:
    """Returns a line for every tensor that is missing, has a wrong shape or type, or is unknown."""
    expected = {key: leaf.torch_shape(shapes[leaf.path]) for leaf in leaves for key in leaf.keys}
    lines = [f"missing: {key}" for key in expected if key not in state]
    positions = CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2
    expected |= {POSITIONS: (1, positions, vit.width)}
    expected |= {f"{CLASSIFIER_NORM}{name}": (vit.width,) for name in ("weight", "bias")} | {NORMALIZER: ()}
    for key, value in state.items():
        if key in expected and value.shape != expected[key]:
            lines.append(f"wrong shape: {key} is {value.shape}, expected {expected[key]}")
        elif key in expected and key != NORMALIZER and not jnp.issubdtype(value.dtype, jnp.floating):
            lines.append(f"wrong type: {key} is {value.dtype}, expected floating point")
        elif key not in expected and not _spare(key, state):
            lines.append(f"unknown: {key} {value.shape}")
    return lines


def _spare(key: str, state: Mapping[str, np.ndarray]) -> str:
    """Returns why a tensor is not used; an empty text if it should be used, or is unknown."""
    if key == POSITIONS:
        return f"recomputed as the fixed sinusoid table, which differs by {_positions_apart(state):.1e} at most"
    if key == NORMALIZER:
        return f"{state[key]}, the running loss normaliser of the training"
    if key.startswith(CLASSIFIER_NORM):
        return "norm of the classifier; the detector reads the output of the last block"
    if key.startswith("backbone.model.cls_head."):
        return "classifier of the pre-training"
    return ""


def _positions_apart(state: Mapping[str, np.ndarray]) -> float:
    """Returns the largest difference between a file's position table and the sinusoid table; 0 without a table."""
    if POSITIONS not in state:
        return 0.0
    table = state[POSITIONS][0].astype(np.float32)
    return float(np.abs(table - sinusoid_table(*table.shape)).max())


def check_parameters(params: Params, model: AdaTAD, where: Path) -> None:
    """Checks the shapes of parameters against those that a model of the configuration needs.

    Args:
      params: the parameters.
      model: the model of the configuration.
      where: where the parameters are, for messages.

    Raises:
      UserError: shapes differ; lists every array that differs.
    """
    check_shapes(params, model_shapes(model), "backbone", model.vit, where)
