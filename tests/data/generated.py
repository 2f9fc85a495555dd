"""The configuration of a small data set that `demo.dataset.generate` has made."""

from pathlib import Path

from adatad_jax.config.fields import Config


def config_of(folder: Path, *, window: int, crop: int, train_short_side: int) -> Config:
    """Windows of so many positions at stride 2, frames of `crop` pixels; videos and annotations are in the folder."""
    config = Config().with_fields({"data.videos": str(folder / "videos")})
    return config.with_fields(
        {
            "data.annotations": str(folder / "annotations.json"),
            "data.stride": 2,
            "data.window": window,
            "data.train_short_side": train_short_side,
            "data.test_short_side": crop,
            "data.crop": crop,
            "data.retries": 0,
        }
    )
