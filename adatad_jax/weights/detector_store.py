"""A converted detector on disk: one folder with everything that `evaluate` and `detect` need; read without torch.

params/, ema/            Orbax: the parameter tree, and path -> averaged leaf where the average differs
config.json              the configuration and the class list, as in a run's folder
passengers.safetensors   unused tensors kept for export, so that the checkpoint can be written again
conversion.json          the conversion summary
"""

import json
from collections.abc import Mapping
from pathlib import Path
from typing import Any, NamedTuple

import flax.traverse_util

from adatad_jax.config.fields import Config
from adatad_jax.conversion import folders
from adatad_jax.conversion.detector import AVERAGED, STATE, ConvertedDetector, Tensors
from adatad_jax.conversion.folders import PARAMS_FOLDER, SUMMARY_FILE, UNUSED_FILE
from adatad_jax.conversion.torch_file import read_tensors, write_tensors
from adatad_jax.errors import UserError, one_line
from adatad_jax.files import write_text
from adatad_jax.models.layers import Params
from adatad_jax.weights.run_folder import CONFIG_FILE, write_config

EMA_FOLDER = "ema"


class StoredDetector(NamedTuple):
    """What a converted detector's folder holds, except for its configuration; see `ConvertedDetector`.

    Attributes:
      params: the parameter tree of an `AdaTAD`.
      ema: `a/b/c` -> averaged leaf, for every leaf whose average differs.
      unused: state -> tensor -> value, unused tensors kept for export.
      source: name of the file that was converted.
    """

    params: Params
    ema: Tensors
    unused: dict[str, Tensors]
    source: str

    def averaged(self) -> Params:
        """Returns the whole tree with averaged leaves, which is the tree to evaluate."""
        leaves = flax.traverse_util.flatten_dict(self.params, sep="/")
        result: Params = flax.traverse_util.unflatten_dict({**leaves, **self.ema}, sep="/")
        return result


def is_converted(folder: Path) -> bool:
    """Tells whether a folder holds a converted detector; if not, it may hold a run.

    Raises:
      UserError: the folder holds a converted backbone.
    """
    converted = (folder / SUMMARY_FILE).is_file() or (folder / PARAMS_FOLDER).is_dir()
    if converted and not (folder / CONFIG_FILE).is_file():
        raise UserError(
            f"{folder}: a converted backbone, not a detector (that would have a {CONFIG_FILE}); train one from it "
            f"(--config.weights={folder}), or give the folder of a run or of a converted detector"
        )
    return converted


def save_detector(
    folder: Path, detector: ConvertedDetector, config: Config, classes: tuple[str, ...], record: Mapping[str, Any]
) -> None:
    """Writes a converted detector. The folder appears only once it is whole.

    Args:
      folder: to write.
      detector: the converted file.
      config, classes: configuration and class names to evaluate and detect with.
      record: the conversion summary, with the file's name as `source`.

    Raises:
      UserError: the folder exists, or cannot be written.
    """
    counts = {"averages": len(detector.ema), "passengers": _count(detector.unused)}
    with folders.whole(folder, folders.size_of(detector.params, detector.ema, detector.unused)) as partial:
        folders.write_tree(partial / PARAMS_FOLDER, detector.params)
        if detector.ema:
            folders.write_tree(partial / EMA_FOLDER, detector.ema)
        write_config(partial, config, classes)
        if any(detector.unused.values()):
            write_tensors(partial / UNUSED_FILE, detector.unused[STATE], detector.unused[AVERAGED])
        write_text(partial / SUMMARY_FILE, json.dumps({**record, **counts}, indent=1) + "\n")


def load_detector(folder: Path) -> StoredDetector:
    """Reads parameters, averages and unused tensors kept for export.

    Raises:
      UserError: the folder is damaged, or a part of it is missing.
    """
    try:
        record, params = folders.read_conversion(folder), folders.read_tree(folder / PARAMS_FOLDER)
        ema = folders.read_tree(folder / EMA_FOLDER) if record["averages"] else {}
        unused = read_unused(folder)
        if (len(ema), _count(unused)) != (record["averages"], record["passengers"]):
            raise ValueError(f"{EMA_FOLDER}/ or {UNUSED_FILE} does not hold what {SUMMARY_FILE} says")
        return StoredDetector(params, ema, unused, record["source"])
    # The libraries raise many types for damaged files. A missing entry means an older version.
    except Exception as error:
        raise UserError(
            f"{folder}: damaged, or converted by an older version ({type(error).__name__}: {one_line(error)}); "
            "convert the checkpoint again"
        ) from error


def _count(unused: Mapping[str, Tensors]) -> dict[str, int]:
    return {state: len(tensors) for state, tensors in unused.items()}


def read_unused(folder: Path) -> dict[str, Tensors]:
    """Reads a folder's unused tensors kept for export.

    Returns:
      state -> tensor -> value; no tensors if the folder has no such file.

    Raises:
      UserError: the file is damaged.
    """
    path = folder / UNUSED_FILE
    if not path.is_file():
        return {STATE: {}, AVERAGED: {}}
    file = read_tensors(path)
    # A file with averages alone is read as if both states were the same object.
    return {STATE: {} if file.tensors is file.averaged else file.tensors, AVERAGED: file.averaged}
