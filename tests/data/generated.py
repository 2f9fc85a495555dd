"""The configuration of a small data set that `demo.dataset.generate` has made."""

from pathlib import Path

from ml_collections import ConfigDict

from adatad_jax.config.fields import default


def config_of(folder: Path, *, window: int, crop: int, train_short_side: int) -> ConfigDict:
    """Windows of so many positions at stride 2, frames of `crop` pixels; videos and annotations are in the folder."""
    config = default()
    config.data.videos = str(folder / "videos")
    config.data.annotations = str(folder / "annotations.json")
    config.data.stride, config.data.window = 2, window
    config.data.train_short_side, config.data.test_short_side, config.data.crop = train_short_side, crop, crop
    return config
