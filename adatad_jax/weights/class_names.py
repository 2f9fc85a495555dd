"""The names of a classifier's outputs: those that came with it, or else those of Kinetics-400."""

from collections.abc import Sequence
from pathlib import Path

from adatad_jax.classification.kinetics import kinetics_400
from adatad_jax.conversion.beside import Beside
from adatad_jax.errors import UserError


def names_of(outputs: int, beside: Beside, classes: Sequence[str], source: Path) -> tuple[str, ...] | None:
    """Returns the names of a classifier's outputs; None if they are not known.

    Files hold no names. That of 400 outputs is taken for one of Kinetics-400 where the given list is Kinetics-400's.

    Args:
      outputs: how many there are.
      beside: what is known of the classifier.
      classes: list of a command.
      source: where the classifier comes from, for messages.

    Raises:
      UserError: there are more names, or fewer, than outputs.
    """
    if beside.classes is not None:
        check_number(outputs, beside.classes, source, "its record")
        return beside.classes
    kinetics = kinetics_400()
    return kinetics if outputs == len(kinetics) and tuple(classes) == kinetics else None


def check_number(outputs: int, classes: Sequence[str], source: Path, where: str) -> None:
    """Raises `UserError` if a classifier has another number of outputs than a list, which is in `where`, has names."""
    if len(classes) != outputs:
        raise UserError(
            f"{source}: a classifier of {outputs} outputs, but {where} has {len(classes)} names: give a list of "
            f"{outputs}, one per line, in the order of the training"
        )
