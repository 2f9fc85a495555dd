"""The configuration of a run. A file in `configs/` starts from `default()`, or from one of the `recipes`."""

from adatad_jax.config.fields import Config, default

__all__ = ["Config", "default"]
