"""A whole AdaTAD detector as the PyTorch release saves it: its tensors as our parameters, and back.

The release saves two states, the parameters as trained and their running average, each with every tensor of the model,
buffers and frozen ones too. What our parameters do not give back bit for bit (tensors that nothing reads, another
precision) travels beside them as passengers, so that a file can be written again exactly.
"""

import functools
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

import flax.traverse_util
import jax
import jax.numpy as jnp
import numpy as np

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
POSITION_TOLERANCE = 1e-6


@dataclass(frozen=True)
class ConvertedDetector:
    """A converted detector and what became of each tensor.

    Attributes:
      params: parameters of an `AdaTAD`, of the state as trained (of the average, where the file has no other).
      ema: `a/b/c` -> averaged leaf, for every leaf whose average differs. Frozen ones are among them where the
        release's averaging has moved them by rounding, for that is what the release evaluates.
      passengers: state -> tensor -> value, of all that `to_states` would not give back by itself.
      states: the states that the file has.
      read: number of tensors in a state.
      groups: what they became -> numbers of tensors and of parameters.
      kept: tensor that nothing reads -> why.
    """

    params: Params
    ema: Tensors
    passengers: dict[str, Tensors]
    states: tuple[str, ...]
    read: int
    groups: dict[str, tuple[int, int]]
    kept: dict[str, str]

    @property
    def mapped(self) -> int:
        """Number of tensors that became parameters."""
        return sum(tensors for tensors, _ in self.groups.values())

    def _averages(self) -> str:
        if self.states == (AVERAGED,):
            return "are all that the file holds; they are evaluated"
        if self.states == (STATE,):
            return "none in the file; the weights as trained are evaluated"
        arrays = len(jax.tree.leaves(self.params))
        return f"{len(self.ema)} of {arrays} arrays differ from the weights as trained; the averages are evaluated"

    def account(self) -> str:
        """The conversion in words, for a terminal."""
        unlike = {str(v.dtype) for v in self.passengers[STATE].values() if v.dtype.kind not in "iub"} - {"float32"}
        lines = [
            f"read     {self.read} tensors in {' and '.join(self.states)}",
            f"mapped   {self.mapped} tensors, {sum(size for _, size in self.groups.values()):,} parameters:",
            *(f"  {name}: {tensors} tensors, {size:,} parameters" for name, (tensors, size) in self.groups.items()),
            f"averages {self._averages()}",
            f"not used {len(self.kept)}, kept beside the parameters:",
            *(f"  {key}: {reason}" for key, reason in self.kept.items()),
        ]
        if "pos_embed" in self.params["backbone"]:
            lines.append(f"{POSITIONS}: not the fixed sinusoid table; the file's own is used, resized to the frames")
        if unlike:
            lines.append(f"tensors in {', '.join(sorted(unlike))} are used as float32, and kept as they are too")
        return "\n".join(lines)


def convert_detector(file: TensorFile, model: AdaTAD) -> ConvertedDetector:
    """Puts a detector file's tensors in the places of a model's parameters.

    Raises:
      UserError: listing every tensor of either state that is missing, has a wrong shape, or is unknown.
    """
    vit = model.vit
    leaves, shapes = list(model_leaves(vit, model.detector_config)), model_shapes(model)
    is_average = file.averaged is file.tensors  # the file has nothing else
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
            f"width {model.detector_config.width}:\n  " + "\n  ".join(problems)
        )
    learned = any(_positions_apart(state) > POSITION_TOLERANCE for state in states.values())

    def arrays(state: Tensors) -> Iterator[tuple[tuple[str, ...], np.ndarray]]:
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
    passengers: dict[str, Tensors] = {STATE: {}, AVERAGED: {}}
    for name, state in states.items():
        written = dict(zip((STATE, AVERAGED), to_states(nested, ema, passengers, model), strict=True))[name]
        passengers[name] = {
            key: value for key, value in state.items() if key not in written or not same_bits(value, written[key])
        }
    names = (AVERAGED,) if is_average else tuple(states)
    return ConvertedDetector(nested, ema, passengers, names, len(file.tensors), _groups(leaves, params), kept)


def to_states(
    params: Params, ema: Tensors, passengers: Mapping[str, Tensors], model: AdaTAD
) -> tuple[Tensors, Tensors]:
    """The release's two states, by tensor: the inverse of `convert_detector`.

    Args:
      params, ema, passengers: as in `Detector`; passengers come before what the parameters say.
      model: whose parameters these are.

    Returns:
      The state as trained, and the averaged one, in full.
    """
    leaves = {"/".join(leaf.path): leaf for leaf in model_leaves(model.vit, model.detector_config)}

    def write(flat: Mapping[str, np.ndarray]) -> Tensors:
        tensors: Tensors = {}
        for path, value in flat.items():
            if path == "backbone/pos_embed":
                tensors[POSITIONS] = np.asarray(value)[None]
            else:
                tensors |= leaves[path].write(value)
        return tensors

    state = {**write(flax.traverse_util.flatten_dict(params, sep="/")), **passengers.get(STATE, {})}
    return state, {**state, **write(ema), **passengers.get(AVERAGED, {})}


@functools.cache
def model_shapes(model: AdaTAD) -> dict[tuple[str, ...], tuple[int, ...]]:
    """Path -> shape of every parameter of a model."""
    side = model.vit.patch
    frames = jax.ShapeDtypeStruct((1, CHUNK_FRAMES, side, side, 3), jnp.uint8)
    mask = jax.ShapeDtypeStruct((1, CHUNK_FRAMES), bool)
    shapes = jax.eval_shape(model.init, jax.random.key(0), frames, mask)["params"]
    return {path: leaf.shape for path, leaf in flax.traverse_util.flatten_dict(shapes).items()}


def same_bits(a: np.ndarray, b: np.ndarray) -> bool:
    """Whether two arrays are the same bit for bit, type and shape included."""
    return a.dtype == b.dtype and a.shape == b.shape and a.tobytes() == b.tobytes()


def _groups(leaves: Iterable[Leaf], params: Mapping[tuple[str, ...], np.ndarray]) -> dict[str, tuple[int, int]]:
    """Part of the model -> numbers of tensors and of parameters."""
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
    """A line for every tensor that is missing, of a wrong shape or type, or unknown."""
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
    """Why a tensor is not used; nothing if it should be, or is unknown."""
    if key == POSITIONS:
        return f"recomputed: the fixed sinusoid table, {_positions_apart(state):.1e} apart at most"
    if key == NORMALIZER:
        return f"{state[key]}, where the training's loss normaliser stood"
    if key.startswith(CLASSIFIER_NORM):
        return "norm of the classifier; the detector reads the map after the last block"
    if key.startswith("backbone.model.cls_head."):
        return "classifier of the pre-training"
    return ""


def _positions_apart(state: Mapping[str, np.ndarray]) -> float:
    """How far a file's position table is from the sinusoid table."""
    if POSITIONS not in state:
        return 0.0
    table = state[POSITIONS][0].astype(np.float32)
    return float(np.abs(table - sinusoid_table(*table.shape)).max())


def check_parameters(params: Params, model: AdaTAD, where: Path) -> None:
    """Compares a tree's shapes with what a model of the configuration needs.

    Raises:
      UserError: they differ; every array is listed.
    """
    found = {path: np.shape(leaf) for path, leaf in flax.traverse_util.flatten_dict(params).items()}
    wanted = dict(model_shapes(model))
    vit, positions = model.vit, ("backbone", "pos_embed")
    if positions in found:  # may be there in place of the sinusoid table
        wanted[positions] = (CHUNK_TUBELETS * (vit.image_size // vit.patch) ** 2, vit.width)
    lines = [
        f"{'/'.join(path)}: found {found.get(path, 'nothing')}, the configuration needs {wanted.get(path, 'nothing')}"
        for path in sorted(found.keys() | wanted.keys())
        if found.get(path) != wanted.get(path)
    ]
    if lines:
        raise UserError(
            f"{where}: the parameters are not of the sizes in its configuration ({len(lines)} arrays differ); give "
            "the folder the config.json it was written with:\n  " + "\n  ".join(lines)
        )
