"""The curves of the run that trained a detector, for its report."""

from pathlib import Path
from typing import NamedTuple

from adatad_jax.report.charts import DARK_INK, LIGHT_INK, data_uri, to_svg
from adatad_jax.training.curves import draw, read_curves


class TrainingCurves(NamedTuple):
    """A picture of the curves.

    Attributes:
      light, dark: data URIs of the picture for light and for dark pages.
      steps: number of steps taken.
      epochs: number of epochs done; the last one may be a part.
    """

    light: str
    dark: str
    steps: int
    epochs: float


def training_curves(run: Path) -> TrainingCurves | None:
    """Draws the curves of the run in a folder; None where there is none, or it is of a version without them."""
    curves = read_curves(run)
    if curves is None:
        return None
    light, dark = (data_uri("image/svg+xml", to_svg(draw(curves, ink))) for ink in (LIGHT_INK, DARK_INK))
    return TrainingCurves(light, dark, int(curves.steps["step"][-1]), float(curves.steps["epoch"][-1]))
