"""The class names of Kinetics-400 (arXiv 1705.06950), in the order of the published classifiers' outputs."""

from importlib import resources


def kinetics_400() -> tuple[str, ...]:
    """Reads the 400 class names: name i is that of output i."""
    text = resources.files(__package__).joinpath("kinetics_400.txt").read_text(encoding="utf-8")
    return tuple(text.splitlines())
