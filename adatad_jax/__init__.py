"""Temporal action detection in long, untrimmed videos: AdaTAD in JAX and Flax.

    from adatad_jax import load

    detections = load("runs/demo")("video.mp4")

`inference.detector.Detector` says what it takes and gives.
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from adatad_jax.inference.detector import Detector, load
    from adatad_jax.postprocessing.detections import Detection

__all__ = ["Detection", "Detector", "load"]


def __getattr__(name: str) -> Any:
    """Imports what is asked for only then: worker processes of other modules need no jax."""
    if name == "Detection":
        from adatad_jax.postprocessing.detections import Detection

        return Detection
    if name in ("Detector", "load"):
        from adatad_jax.inference import detector

        return getattr(detector, name)
    if name == "recipes":  # where configuration files of earlier versions find them
        from adatad_jax.config import recipes

        return recipes
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
