"""The features of a frozen backbone, computed before the first step for all epochs, and stored."""

import logging
import shutil
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Any, NamedTuple

import jax
import numpy as np
from numpy.typing import NDArray
from rich.console import Console

from adatad_jax.config.fields import Config
from adatad_jax.console import progress_bar
from adatad_jax.data.cache import read_entry, record_file
from adatad_jax.data.frames import FrameSource
from adatad_jax.data.loader import load_ahead, unwrap
from adatad_jax.data.stored_features import FeatureWindows, StoredFeatures, features_file, read_features, write_features
from adatad_jax.devices.mapping import map_over_devices
from adatad_jax.devices.memory import GIB
from adatad_jax.devices.placing import replicate
from adatad_jax.devices.processes import Processes
from adatad_jax.errors import UserError, listed
from adatad_jax.inference.fitting import evaluated_chunks, inference_policy
from adatad_jax.models.adatad import AdaTAD
from adatad_jax.models.backbone import Backbone
from adatad_jax.models.layers import Params
from adatad_jax.models.sizes import CHUNK_FRAMES, CHUNK_TUBELETS, SIZES
from adatad_jax.video import transforms
from adatad_jax.weights.frozen import params_checksum

CHUNKS_AT_ONCE = 64  # of a video, which are read together
FORMAT = 1
_logger = logging.getLogger(__name__)
Chunks = NDArray[np.int64]
Encode = Callable[[np.ndarray], np.ndarray]


class Missing(NamedTuple):
    """What is to be computed for a video.

    Attributes:
      video: its name.
      path: of its file.
      made_of: what the features depend on.
      kept: what the file holds already.
      chunks: `[M, 16]` that it lacks.
    """

    video: str
    path: Path
    made_of: dict[str, Any]
    kept: StoredFeatures | None
    chunks: Chunks


def store_features(
    windows: FeatureWindows, config: Config, model: AdaTAD, frozen: Params, processes: Processes, console: Console
) -> None:
    """Computes the features that a run's windows will hold, as far as they are not stored yet.

    A file that is damaged, or was made of another file of the video, other weights or settings, is made anew. What is
    stored when the run is interrupted is kept.

    Args:
      windows: of the run.
      config: of the run.
      model: the detector.
      frozen: its frozen parameters.
      processes: that share the work; the folder must be the same for all.
      console: where to report.

    Raises:
      UserError: a video cannot be read and `data.skip_broken` is not set (else it has no features, and its windows are
        skipped), or the features cannot be written.
    """
    wanted, count = windows.chunks(config.train.epochs)
    frames = FrameSource(
        {name: windows.subset.files.get(name) for name in wanted},
        config.data,
        windows.subset.sampling,
        config.data.train_short_side,
        windows.subset.probes,
        onwards=True,
    )
    weights = params_checksum(frozen["backbone"])
    own = list(wanted)[processes.index :: processes.count]
    missing = _missing(windows.folder, {name: wanted[name] for name in own}, config, frames, weights)
    lacking = sum(len(one.chunks) for one in missing)
    console.print(f"{_described(windows, config, wanted, count)}; {lacking:,} to compute")
    everywhere = sum(processes.post("features to compute", lacking)())
    if everywhere:
        _check_room(windows.folder, everywhere * _bytes_per_chunk(config))
    if missing:
        encode = _encoder(model, frozen, config)
        with progress_bar(console) as bar:
            task = bar.add_task("features, chunks", total=lacking)
            for done in _compute(missing, frames, encode, config):
                bar.advance(task, done)
    processes.post("features", True)()  # all are stored before any process reads some


def describe(windows: FeatureWindows, config: Config) -> str:
    """Says how much a run would store."""
    return _described(windows, config, *windows.chunks(config.train.epochs))


def _described(windows: FeatureWindows, config: Config, wanted: dict[str, Chunks], count: int) -> str:
    distinct = sum(map(len, wanted.values()))
    return (
        f"features of the frozen backbone in {windows.folder}: {distinct:,} chunks of {CHUNK_FRAMES} frames, "
        f"{distinct * _bytes_per_chunk(config) / GIB:.2f} GiB, where {config.train.epochs} epochs hold {count:,}"
    )


def _bytes_per_chunk(config: Config) -> int:
    return CHUNK_TUBELETS * SIZES[config.model.size].width * 4 + CHUNK_FRAMES * 8


def _missing(
    folder: Path, wanted: dict[str, Chunks], config: Config, frames: FrameSource, weights: int
) -> list[Missing]:
    """Finds out what is not stored yet."""
    result, others = [], []
    for name, chunks in wanted.items():
        path = features_file(folder, name)
        try:
            made_of = _made_of(name, config, frames, weights)
        except UserError as error:
            if not config.data.skip_broken:
                raise
            _logger.warning("%s; its features are left out", error)
            continue
        try:
            stored = read_features(path)
        except UserError as error:
            _logger.warning("%s; its features are computed again", error)
            stored = None
        if stored is not None and stored.made_of != made_of:
            others.append(f"{path}: {name}: {_difference(stored.made_of, made_of)}")
            stored = None
        known = {row.tobytes() for row in stored.chunks} if stored is not None else set()
        lacking = np.array([row.tobytes() not in known for row in chunks], bool)
        if lacking.any():
            result.append(Missing(name, path, made_of, stored, chunks[lacking]))
    if others:
        _logger.warning("%d files of features were made otherwise and are made again:%s", len(others), listed(others))
    return result


def _made_of(video: str, config: Config, frames: FrameSource, weights: int) -> dict[str, Any]:
    """Returns what the features of a video depend on, beside the frames of a chunk."""
    data, model = config.data, config.model
    height, width = frames.size(video)
    source: dict[str, Any] = {"frames": frames.count(video), "height": height, "width": width}
    path = frames.file(video)
    if data.cache:
        entry = read_entry(record_file(Path(data.cache), data.train_short_side, video))
        source["records"] = entry.sha256 if entry is not None else ""
    elif path is not None:
        try:
            status = path.stat()
        except OSError as error:
            raise UserError(f"{path}: cannot be read ({error.strerror})") from error
        source |= {"name": path.name, "bytes": status.st_size, "mtime_ns": status.st_mtime_ns, "reader": data.reader}
    computed = {"size": model.size, "image_size": model.image_size, "norm_eps": model.norm_eps, "dtype": model.dtype}
    return {"format": FORMAT, "video": video, "source": source, "crop": data.crop, "model": computed, "crc32": weights}


def _difference(before: dict[str, Any], now: dict[str, Any]) -> str:
    """Says which facts differ."""
    different = [key for key in now if before.get(key) != now[key]]
    words = {"source": "another or changed video", "crc32": "other weights", "model": "another model"}
    return ", ".join(words.get(key, f"another {key}") for key in different) or "another version"


def _check_room(folder: Path, needed: int) -> None:
    existing = next(parent for parent in (folder.absolute(), *folder.absolute().parents) if parent.is_dir())
    free = shutil.disk_usage(existing).free
    if free < needed:
        raise UserError(
            f"{folder}: the features need {needed / GIB:.2f} GiB, but {free / GIB:.2f} GiB are free: make room, or set "
            "--config.train.cache_features to another folder, or to nothing"
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise UserError(f"{folder}: no folder can be made there ({error.strerror}); choose another") from error


def _encoder(model: AdaTAD, frozen: Params, config: Config) -> tuple[Encode, int]:
    """Returns a function from chunks `[N, 16, H, W, 3]` uint8 to features `[N, 8, C]`, and N.

    A call takes as much memory as an evaluation step.
    """
    devices = jax.local_devices()
    each = evaluated_chunks(config)
    fitting = inference_policy(config, model.detector_config.classes, config.test.batch_size)
    backbone = Backbone(model.vit, model.dtype, fitting.policy)
    apply = map_over_devices(lambda params, frames: backbone.apply({"params": params}, frames), devices, (None, 0))
    params = replicate(frozen["backbone"], devices)

    def encode(frames: np.ndarray) -> np.ndarray:
        features = apply(params, frames.reshape(len(devices), each, *frames.shape[1:]))
        return np.asarray(features).reshape(len(frames), CHUNK_TUBELETS, -1)

    return encode, each * len(devices)


def _compute(
    missing: Sequence[Missing], frames: FrameSource, encoder: tuple[Encode, int], config: Config
) -> Iterator[int]:
    """Computes and writes the features of videos; yields numbers of chunks that are done.

    Chunks of several videos fill a call of the backbone together.
    """
    blocks = [
        (number, first) for number, one in enumerate(missing) for first in range(0, len(one.chunks), CHUNKS_AT_ONCE)
    ]
    data = config.data

    def read(block: tuple[int, int]) -> np.ndarray:
        one, first = missing[block[0]], block[1]
        chunks = one.chunks[first : first + CHUNKS_AT_ONCE]
        indices, places = np.unique(chunks, return_inverse=True)
        box = transforms.centre_box(*frames.size(one.video), data.crop)
        return frames.read(one.video, indices, box, data.crop)[places.reshape(chunks.shape)]

    def readable() -> Iterator[tuple[int, np.ndarray | None]]:
        for (number, _), result in load_ahead(blocks, read, data.threads, ahead=2):
            if isinstance(result, UserError) and data.skip_broken:
                yield number, None
            else:
                yield number, unwrap(result)

    done: dict[int, list[np.ndarray]] = {}
    broken: set[int] = set()
    for number, features in _encoded(readable(), *encoder):
        one = missing[number]
        if features is None:
            broken.add(number)
            yield 0
            continue
        parts = done.setdefault(number, [])
        parts.append(features)
        if number not in broken and sum(map(len, parts)) == len(one.chunks):
            frames.finish(one.video)
            _write(one, np.concatenate(done.pop(number)))
        yield len(features)


def _encoded(
    blocks: Iterator[tuple[int, np.ndarray | None]], encode: Encode, size: int
) -> Iterator[tuple[int, np.ndarray | None]]:
    """Encodes blocks of chunks by calls of `size` chunks, and yields the blocks in their order; None stays None."""
    waiting: list[tuple[int, np.ndarray]] = []

    def call() -> Iterator[tuple[int, np.ndarray]]:
        """Encodes the first `size` chunks that wait, filled up with copies of the last."""
        nonlocal waiting
        taken, rest, room = [], [], size
        for number, frames in waiting:
            if room:
                taken.append((number, frames[:room]))
            if len(frames) > room:
                rest.append((number, frames[room:]))
            room = max(0, room - len(frames))
        joined = np.concatenate([frames for _, frames in taken])
        features = encode(np.concatenate([joined, np.repeat(joined[-1:], size - len(joined), axis=0)]))
        start = 0
        for number, frames in taken:
            yield number, features[start : start + len(frames)]
            start += len(frames)
        waiting = rest

    for number, frames in blocks:
        if frames is None:
            yield number, None
            continue
        waiting.append((number, frames))
        while sum(len(frames) for _, frames in waiting) >= size:
            yield from call()
    while waiting:
        yield from call()


def _write(one: Missing, features: np.ndarray) -> None:
    """Writes a video's file: what it held, and what was computed."""
    chunks = one.chunks
    if one.kept is not None:
        chunks, features = np.concatenate([one.kept.chunks, chunks]), np.concatenate([one.kept.features, features])
    write_features(one.path, StoredFeatures(one.made_of, chunks, features.astype(np.float32)))
