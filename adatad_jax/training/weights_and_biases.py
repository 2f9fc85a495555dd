"""Values of a run for Weights & Biases, as `train.wandb` asks."""

import importlib.util
import logging
import os
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from adatad_jax.errors import UserError, one_line

PROJECT = "adatad-jax"  # unless WANDB_PROJECT is set
OFF = "off"
_logger = logging.getLogger(__name__)


def check_wandb(mode: str) -> None:
    """Raises `UserError` if `train.wandb` asks for a library that is not installed."""
    if mode != OFF and importlib.util.find_spec("wandb") is None:
        raise UserError(
            f"config.train.wandb={mode!r}: wandb is not installed: pip install 'adatad-jax[wandb]', or set it to "
            f"{OFF!r}"
        )


class WeightsAndBiases:
    """A run of Weights & Biases, which further starts of the same folder continue under the same id."""

    def __init__(self, workdir: Path, mode: str, identity: str, config: Mapping[str, Any]) -> None:
        """Starts the run, or continues it.

        Args:
          workdir: the run's folder; files go into its folder `wandb`.
          mode: `offline` or `online`.
          identity: the run's id.
          config: dotted field -> value.

        Raises:
          UserError: the library cannot start: no account, or no network.
        """
        import wandb

        try:
            self._run = wandb.init(
                project=os.environ.get("WANDB_PROJECT", PROJECT),
                name=workdir.resolve().name,
                dir=str(workdir),
                mode=mode,  # type: ignore[arg-type]
                id=identity,
                resume="allow",
                config=dict(config),
                settings=wandb.Settings(console="off", silent=True),
            )
        except Exception as error:  # of the library, whose classes differ from version to version
            raise UserError(
                f"config.train.wandb={mode!r}: wandb does not start ({one_line(error)}); try offline, or {OFF!r}"
            ) from error
        self._image = wandb.Image
        self._warned = False

    def scalars(self, step: int, values: Mapping[str, float]) -> None:
        self._log(step, lambda: dict(values))

    def pictures(self, step: int, files: Mapping[str, Path]) -> None:
        self._log(step, lambda: {name: self._image(str(path)) for name, path in files.items()})

    def text(self, name: str, content: str) -> None:
        """Does nothing: the configuration is the run's."""

    def close(self) -> None:
        try:
            self._run.finish()
        except Exception as error:
            self._warn(error)

    def _log(self, step: int, make: Callable[[], dict[str, Any]]) -> None:
        """Logs what is made."""
        try:
            self._run.log(make(), step=step)
        except Exception as error:  # no fault of a log may end a training
            self._warn(error)

    def _warn(self, error: Exception) -> None:
        if not self._warned:
            self._warned = True
            _logger.warning("wandb: %s; the training goes on", one_line(error))
