"""How the processes of one run were started: by whom, how many there are, which one this is, and where they meet."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

from jax._src.clusters import ClusterEnv  # what `jax.distributed.initialize()` asks; it is public nowhere

from adatad_jax.errors import UserError, one_line

COORDINATOR, PROCESSES, PROCESS = "JAX_COORDINATOR_ADDRESS", "JAX_NUM_PROCESSES", "JAX_PROCESS_ID"
_FIELDS = {COORDINATOR: "coordinator", PROCESSES: "processes", PROCESS: "process"}
# What a step of Slurm has. A script of sbatch that does not call srun lacks some, and is one process.
_SLURM = ("SLURM_JOB_ID", "SLURM_STEP_NODELIST", "SLURM_NTASKS", "SLURM_PROCID", "SLURM_LOCALID")
_TPU_HOSTS = ("TPU_PROCESS_ADDRESSES", "TPU_WORKER_HOSTNAMES")


@dataclass(frozen=True)
class Launch:
    """How the processes of a run were started.

    Attributes:
      by: what says so, in words.
      coordinator: `HOST:PORT`, where process 0 listens.
      count: number of processes.
      index: of this process, from 0.
      devices: which of the machine's devices this process uses; None: all that it sees.
    """

    by: str
    coordinator: str
    count: int
    index: int
    devices: tuple[int, ...] | None = None


def find_launch(
    coordinator: str = "",
    processes: int = 0,
    process: int = -1,
    environment: Mapping[str, str] = os.environ,
    timeout: float = 60.0,
) -> Launch | None:
    """Finds out how the processes of this run were started.

    What is given counts first, then JAX's variables `JAX_COORDINATOR_ADDRESS`, `JAX_NUM_PROCESSES` and
    `JAX_PROCESS_ID`. What both leave open comes from Slurm, Open MPI, a TPU pod or Kubernetes, as JAX reads them.

    Args:
      coordinator: `HOST:PORT` of process 0; empty: not given.
      processes: their number; 0: not given.
      process: index of this one; below 0: not given.
      environment: the variables.
      timeout: seconds to wait for the name of process 0's machine to be known, where a cluster gives it.

    Returns:
      None for a single process.

    Raises:
      UserError: what is given is incomplete or contradicts itself, or the cluster does not say where process 0 is.
    """
    address = coordinator or environment.get(COORDINATOR, "")
    count = processes or _number(environment, PROCESSES)
    index = process if process >= 0 else _number(environment, PROCESS)
    by, devices = "the configuration" if coordinator or processes or process >= 0 else "JAX's variables", None
    if not address or count is None or index is None:
        cluster = cluster_of(environment)
        if cluster is None:
            _require_none(address, count, index)
            return None
        by = f"{cluster} and {by}" if address or count is not None or index is not None else cluster
        address, count, index = _detect(cluster, address, count, index, timeout)
        devices = devices_of_task(environment)
    if count < 1:
        raise UserError(
            f"{count} processes (by {by}): expected at least 1; see --config.distributed.processes and {PROCESSES}"
        )
    if not 0 <= index < count:
        raise UserError(
            f"process {index} of {count} (by {by}): expected a number from 0 to {count - 1}; see "
            f"--config.distributed.process and {PROCESS}"
        )
    if count == 1:
        return None
    _require_address(address, by)
    return Launch(by, address, count, index, devices)


def require_one_process(command: str, environment: Mapping[str, str] = os.environ) -> None:
    """Refuses a command that is started as several processes, which would all do the same.

    Raises:
      UserError: the environment says that there are several.
    """
    if (by := several(environment)) is not None:
        raise UserError(f"{command} runs in one process, but {by} says that there are several; start one")


def several(environment: Mapping[str, str]) -> str | None:
    """Returns which variables say that several processes were started; None if none do. Asks no service."""
    if (_number(environment, PROCESSES) or 1) > 1:
        return PROCESSES
    cluster = cluster_of(environment)
    return cluster if cluster in ("Slurm", "Open MPI", "the TPU pod") else None


def cluster_of(environment: Mapping[str, str]) -> str | None:
    """Returns the name of the cluster that has started several processes, or may have; None if there is none."""
    if all(name in environment for name in _SLURM):
        tasks = _number(environment, "SLURM_STEP_NUM_TASKS") or _number(environment, "SLURM_NTASKS") or 1
        if tasks > 1:
            return "Slurm"
    if (_number(environment, "OMPI_COMM_WORLD_SIZE") or 1) > 1:
        return "Open MPI"
    hosts = next((environment[name] for name in _TPU_HOSTS if name in environment), "")
    if len(hosts.split(",")) > 1 or (_number(environment, "MEGASCALE_NUM_SLICES") or 1) > 1:
        return "the TPU pod"
    if not hosts and _has_tpu(environment):
        return "the TPU's machine"  # whose metadata lists the pod's workers
    if {"KUBERNETES_SERVICE_HOST", "JOB_COMPLETION_INDEX"} <= environment.keys() and find_spec("kubernetes"):
        return "Kubernetes"
    return None


def devices_of_task(environment: Mapping[str, str]) -> tuple[int, ...] | None:
    """Returns which of the GPUs that it sees a task of Slurm or Open MPI uses; None: all.

    A task that sees all GPUs of its machine takes an equal part of them. (JAX would give it one, however many there
    are.) A task to which the cluster has bound its own GPUs takes those.
    """
    if environment.get("JAX_LOCAL_DEVICE_IDS"):  # which JAX reads by itself
        return None
    visible = next(
        (environment[name] for name in ("CUDA_VISIBLE_DEVICES", "ROCR_VISIBLE_DEVICES") if name in environment), ""
    )
    seen = len([one for one in visible.split(",") if one])
    here = seen
    if all(name in environment for name in _SLURM):
        rank, tasks = _number(environment, "SLURM_LOCALID"), _tasks_here(environment)
        here = _number(environment, "SLURM_GPUS_ON_NODE") or seen
    else:
        rank = _number(environment, "OMPI_COMM_WORLD_LOCAL_RANK")
        tasks = _number(environment, "OMPI_COMM_WORLD_LOCAL_SIZE")
    if rank is None or not tasks or seen < here:
        return None
    if not seen:  # no cluster has shared out the GPUs, if there are any
        return (rank,) if tasks > 1 else None
    if seen < tasks:
        return None
    each = seen // tasks
    return tuple(range(rank * each, (rank + 1) * each))


def _tasks_here(environment: Mapping[str, str]) -> int | None:
    """Returns how many tasks of Slurm's step run on this machine, from such as `2(x3),1`."""
    per_node: list[int] = []
    for part in environment.get("SLURM_STEP_TASKS_PER_NODE", "").split(","):
        tasks, _, times = part.strip(")").partition("(x")
        if not tasks.isdecimal():
            return None
        per_node += [int(tasks)] * int(times or 1)
    node = _number(environment, "SLURM_NODEID") or 0
    return per_node[node] if node < len(per_node) else None


def _detect(cluster: str, address: str, count: int | None, index: int | None, timeout: float) -> tuple[str, int, int]:
    """Asks JAX for what is not given. The machine of a TPU that belongs to no pod is one process.

    Raises:
      UserError: JAX does not find out.
    """
    try:
        found = ClusterEnv.auto_detect_unset_distributed_params(
            address or None, count, index, None, None, round(timeout)
        )
    except Exception as error:  # of a cluster's service, or of a variable that is not as JAX expects it
        raise UserError(_not_told(cluster, f"{type(error).__name__}: {one_line(error)}")) from error
    found_address, found_count, found_index, _ = found
    if found_address is None or found_count is None or found_index is None:
        if cluster == "the TPU's machine" and not address and count is None and index is None:
            return "", 1, 0
        raise UserError(_not_told(cluster, "JAX does not recognise this cluster"))
    return found_address, found_count, found_index


def _not_told(cluster: str, reason: str) -> str:
    return (
        f"{cluster} has started several processes, but not said where and how many ({reason}); set {COORDINATOR}, "
        f"{PROCESSES} and {PROCESS}, or --config.distributed.coordinator, processes and process"
    )


def _require_none(address: str, count: int | None, index: int | None) -> None:
    """Raises `UserError` if some of a launch is given, and not all; one process needs nothing."""
    given = {COORDINATOR: address or None, PROCESSES: count, PROCESS: index}
    missing = [name for name, value in given.items() if value is None]
    if len(missing) == len(given) or (count == 1 and not index):
        return
    known = ", ".join(f"{name}={value}" for name, value in given.items() if value is not None)
    options = ", ".join(f"{name} (or --config.distributed.{_FIELDS[name]})" for name in missing)
    raise UserError(f"several processes: {known} is given, but not {options}; give all three, or none for one process")


def _require_address(address: str, by: str) -> None:
    """Raises `UserError` for anything but `HOST:PORT`."""
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal() or not 0 < int(port) < 2**16:
        raise UserError(
            f'coordinator "{address}" (by {by}): expected HOST:PORT, the machine of process 0 and a free port there, '
            "such as node1:8476"
        )


def _number(environment: Mapping[str, str], name: str) -> int | None:
    """Returns a variable that is a number; None if it is not set.

    Raises:
      UserError: it is something else.
    """
    text = environment.get(name, "")
    if not text:
        return None
    if not text.strip().isdecimal():
        raise UserError(f'{name}="{text}": expected a number')
    return int(text)


def _has_tpu(environment: Mapping[str, str]) -> bool:
    """Tells whether this machine has a TPU that JAX may use."""
    if "tpu" not in environment.get("JAX_PLATFORMS", "tpu") or find_spec("libtpu") is None:
        return False
    return Path("/dev/accel0").exists() or Path("/dev/vfio/0").exists()
