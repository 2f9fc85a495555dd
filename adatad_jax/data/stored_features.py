"""Files of a frozen backbone's features, one per video, and training windows that hold these in place of frames.

A frozen backbone encodes each chunk of 16 frames by itself, so that its features depend on these frames alone. Windows
start anywhere, and chunks with them: a file holds the chunks that the windows of a run hold, each once.
"""

from __future__ import annotations

import hashlib
import json
import zipfile
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.config.fields import Config
from adatad_jax.data.dataset import Sample, TrainingWindows
from adatad_jax.data.subset import Subset
from adatad_jax.errors import UserError
from adatad_jax.files import whole_file
from adatad_jax.models.sizes import CHUNK_FRAMES

FEATURES_FOLDER = "features"  # of a run, where `train.cache_features` is auto


class StoredFeatures(NamedTuple):
    """The features of a video's chunks.

    Attributes:
      made_of: what the features depend on, as JSON values.
      chunks: `[M, 16]` int64, source frame indices.
      features: `[M, 8, C]` float32, one feature per tubelet.
    """

    made_of: dict[str, Any]
    chunks: NDArray[np.int64]
    features: NDArray[np.float32]


def features_folder(config: Config, workdir: Path) -> Path | None:
    """Returns where a run stores features; None if it stores none."""
    where = config.train.cache_features
    return None if not where else workdir / FEATURES_FOLDER if where == AUTO else Path(where)


def features_file(folder: Path, video: str) -> Path:
    """Returns the path of a video's file, whose name is made of a hash because the video's may be a path."""
    return folder / f"{hashlib.sha256(video.encode()).hexdigest()[:24]}.npz"


def write_features(path: Path, stored: StoredFeatures) -> None:
    """Writes a file whole or not at all; its arrays have checksums (CRC-32). Raises `UserError` if it cannot."""
    with whole_file(path) as partial, partial.open("wb") as file:
        np.savez(file, made_of=json.dumps(stored.made_of), chunks=stored.chunks, features=stored.features)


def read_features(path: Path) -> StoredFeatures | None:
    """Reads a file, and checks every byte of it; returns None if there is none.

    Raises:
      UserError: the file is damaged.
    """
    try:
        with np.load(path) as arrays:
            return StoredFeatures(json.loads(str(arrays["made_of"])), arrays["chunks"], arrays["features"])
    except FileNotFoundError:
        return None
    except (OSError, ValueError, KeyError, EOFError, zipfile.BadZipFile) as error:
        raise UserError(f"{path}: these features are damaged ({error}); delete the file, and start again") from error


def in_order(chunks: NDArray[np.int64]) -> NDArray[np.int64]:
    """Returns chunks, of any shape, as `[M, 16]` in the order of their first frames, and of the next ones."""
    rows = chunks.reshape(-1, CHUNK_FRAMES)
    return rows[np.lexsort(rows.T[::-1])]


class FeatureWindows(TrainingWindows):
    """Training windows that hold the stored features of their chunks, `[T/2, C]` float32, in place of frames.

    Attributes:
      subset: the training videos.
      folder: of the files.
    """

    def __init__(self, subset: Subset, config: Config, folder: Path) -> None:
        """Prepares to load windows; arguments and errors are those of `TrainingWindows`.

        Args:
          subset: the training videos.
          config: of the run, in which nothing random precedes the backbone (`random_before_backbone`).
          folder: of the files, which need not be there yet.
        """
        super().__init__(subset, config)
        self.subset, self.folder = subset, folder

    def chunks(self, epochs: int) -> tuple[dict[str, NDArray[np.int64]], int]:
        """Returns the chunks that the windows of a run's epochs hold.

        Args:
          epochs: of the run.

        Returns:
          name -> distinct chunks `[M, 16]`, in ascending order; and the number of chunks in all windows.
        """
        found: dict[str, set[bytes]] = {}
        count = 0
        for epoch in range(epochs):
            for index in self.order(epoch).tolist():
                rows = self.draw(epoch, index)[0].frames.reshape(-1, CHUNK_FRAMES)
                found.setdefault(self.names[index], set()).update(row.tobytes() for row in rows)
                count += len(rows)
        return {name: in_order(np.frombuffer(b"".join(rows), np.int64)) for name, rows in found.items()}, count

    def load(self, epoch: int, index: int) -> Sample:
        """Reads the features of one window; see `TrainingWindows.load`."""
        window, _ = self.draw(epoch, index)
        name = self.names[index]
        path = features_file(self.folder, name)
        stored = read_features(path)
        if stored is None:
            raise UserError(f"{path}: the features of video {name} are missing; start again, and they are computed")
        places = {row.tobytes(): place for place, row in enumerate(stored.chunks)}
        try:
            rows = [places[row.tobytes()] for row in window.frames.reshape(-1, CHUNK_FRAMES)]
        except KeyError:
            raise UserError(f"{path}: lacks features of video {name}; start again, and they are computed") from None
        features = stored.features[rows].reshape(-1, stored.features.shape[-1])
        return Sample(features, window.mask, window.segments, window.labels, matched=window.found, video=name)
