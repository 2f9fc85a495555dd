"""A check that the files and folders which a configuration names exist, and the package that reads the videos."""

from pathlib import Path

from adatad_jax.config.fields import Config
from adatad_jax.errors import UserError
from adatad_jax.video.readers import check_installed


def check_paths(config: Config, weights: bool = True) -> None:
    """Checks that every file and folder which the configuration names exists.

    Args:
      config: of the run.
      weights: whether to check the initial weights, which only training reads.

    Raises:
      UserError: one message with every missing path and where to get it; or the reader of videos is not installed.
    """
    data = config.data
    if not data.cache:
        check_installed(data.reader)
    wanted = [("weights", config.weights, "VideoMAE weights", config.weights_from)] if weights else []
    wanted += [
        ("data.cache", data.cache, "cache of frames", "python -m adatad_jax.prepare --output DIR")
        if data.cache
        else ("data.videos", data.videos, "folder of videos", data.come_from),
        ("data.annotations", data.annotations, "annotations", data.come_from),
    ]
    if data.classes and not data.class_agnostic:
        wanted.append(("data.classes", data.classes, "class list", data.come_from))
    if config.test.classifier:
        wanted.append(("test.classifier", config.test.classifier, "class scores of the test videos", data.come_from))
    missing = [
        f"{what}: --config.{field}={path or '(not set)'}" + (f"\n    get it from: {where}" if where else "")
        for field, path, what, where in wanted
        if not path or not Path(path).exists()
    ]
    if missing:
        raise UserError("not found:\n  " + "\n  ".join(missing))
