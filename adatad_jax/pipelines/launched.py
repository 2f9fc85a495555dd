"""The start of a training's process: alone, or one of several that a cluster or a user has started."""

from collections.abc import Callable
from pathlib import Path
from typing import Any, TypeVar

from rich.console import Console

from adatad_jax.config.run_fields import RunConfig
from adatad_jax.console import PrintedWarnings, make_console, warnings_to
from adatad_jax.devices.compilation import keep_compiled
from adatad_jax.devices.launch import find_launch
from adatad_jax.devices.processes import Processes, joined
from adatad_jax.errors import UserError
from adatad_jax.weights.object_store import address_of, working_copy

ConfigT = TypeVar("ConfigT", bound=RunConfig)


def run_training(train: Callable[[ConfigT, Path, Console, Processes], Any], config: ConfigT, folder: Path) -> None:
    """Trains as one process, or as one of several that share the training.

    Args:
      train: takes the configuration, the run's folder, where to report, and the processes.
      config: of the run.
      folder: of the run, or its address in an object store.

    Raises:
      UserError: as `train`; or other processes of the run have failed, or are not there.
    """
    keep_compiled(config.compilation_cache)
    given, address = config.distributed, address_of(folder)
    launch = find_launch(given.coordinator, given.processes, given.process, timeout=given.timeout)
    with joined(launch, given.timeout, config.train.grace) as processes, warnings_to(PrintedWarnings(processes.index)):
        if processes.count > 1 and address:
            raise UserError(f"--workdir={address}: several processes need a folder that all of them share (mount it)")
        with working_copy(folder) as workdir:
            train(config, workdir, make_console(quiet=processes.index > 0), processes)
