"""What the processes of a training have in common, checked before its first step, and the folder that they share."""

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, nullcontext, suppress
from pathlib import Path
from typing import Any

import jax

from adatad_jax.config.run_fields import RunConfig
from adatad_jax.devices.processes import Processes, is_first
from adatad_jax.errors import UserError
from adatad_jax.files import write_text
from adatad_jax.pipelines.start import Start
from adatad_jax.training.checksums import of_arrays
from adatad_jax.weights.run_folder import locked

# Fields that may differ between machines: where things lie, and how fast they are read. What is read is compared.
FIELDS_OF_MACHINE = {
    "weights",
    "compilation_cache",
    "data.videos",
    "data.annotations",
    "data.labels",
    "data.classes",
    "data.come_from",
    "data.cache",
    "data.threads",
    "data.time_limit",
    "data.in_memory",
    "test.classifier",
}
_TOKEN_FILE = ".together"
_VISIBLE = 60.0  # seconds after which a network file system shows a new file on all machines


def check_same_inputs(
    processes: Processes, config: RunConfig, classes: tuple[str, ...], subsets: Mapping[str, Mapping[str, str]]
) -> None:
    """Checks that all processes would train the same, on as many devices each.

    Several processes that JAX knows, and `processes` does not, would train several models.

    Args:
      processes: of the run.
      config: of the run.
      classes: class names.
      subsets: name -> fingerprints of its videos.

    Raises:
      UserError: they differ in the code, in JAX, in fields of the configuration that are not of a machine, in the
        classes, the annotations or the number of devices.
    """
    if jax.process_count() != processes.count:
        raise UserError(
            f"JAX was started with {jax.process_count()} processes, but not by adatad_jax: start each with the command "
            "train, which finds the others by itself (docs/training.md), or call train inside `joined`"
        )
    if processes.count == 1:
        return
    fields = {
        f"config.{name}": value
        for name, value in config.flat().items()
        if name not in FIELDS_OF_MACHINE and not name.startswith("distributed.")
    }
    devices = jax.local_devices()
    processes.agree(
        {
            "code of adatad_jax": code_hash(),
            "jax": jax.__version__,
            "devices": f"{len(devices)} x {devices[0].device_kind}",
            **fields,
            "classes": f"{len(classes)}, hash {_hash(classes)}",
            **{
                f"{subset} videos": f"{len(videos)}, hash {_hash(list(videos.items()))}"
                for subset, videos in subsets.items()
            },
        }
    )


def check_same_start(processes: Processes, start: Start) -> None:
    """Checks that all processes start from the same state.

    Raises:
      UserError: they differ in the step, or in an array: they have read other weights, or another folder.
    """
    if processes.count == 1:
        return
    arrays = of_arrays(jax.device_get(start.state))
    is_unfinished = start.unfinished is not None
    processes.agree(
        {"step to start from": start.step, "unfinished epoch": is_unfinished, "parameters and state": _hash(arrays)}
    )


@contextmanager
def locked_together(workdir: Path, processes: Processes) -> Iterator[None]:
    """Creates a run's folder and locks it for all processes of a training: process 0 holds the lock.

    Raises:
      UserError: another training is running in the folder, it cannot be written, or it is not the same folder for all.
    """
    with locked(workdir) if is_first() else nullcontext():
        _check_shared(workdir, processes)
        yield


def _check_shared(workdir: Path, processes: Processes) -> None:
    """Checks that all processes see what process 0 writes into the folder; raises `UserError` if one does not."""
    if processes.count == 1:
        return
    path, written = workdir / _TOKEN_FILE, secrets.token_hex()
    if is_first():
        write_text(path, written)
    token, *_ = processes.post("token of the folder", written)()
    deadline = time.monotonic() + _VISIBLE
    while not (seen := _reads(path, token)) and time.monotonic() < deadline:
        time.sleep(0.5)
    all_see = processes.post("sight of the token", seen)()
    if is_first():
        path.unlink()
    if blind := [str(process) for process, sees in enumerate(all_see) if not sees]:
        raise UserError(
            f"{workdir}: not the same folder for all processes: process(es) {', '.join(blind)} do not see what process "
            "0 writes there; give a --workdir on a file system that all machines share"
        )


def _reads(path: Path, token: str) -> bool:
    with suppress(OSError):
        return path.read_text() == token
    return False


def code_hash() -> str:
    """Returns a hash of the source files of this package."""
    package = Path(__file__).parents[1]
    digest = hashlib.sha256()
    for path in sorted(package.rglob("*.py")):
        digest.update(str(path.relative_to(package)).encode() + b"\0" + path.read_bytes() + b"\0")
    return digest.hexdigest()[:16]


def _hash(value: Any) -> str:
    return hashlib.sha256(json.dumps(value, sort_keys=isinstance(value, dict)).encode()).hexdigest()[:16]
