"""The configuration of a run. A file in `configs/` starts from `default()`, or from one of the `recipes`."""

from adatad_jax.config.fields import default

__all__ = ["default"]
