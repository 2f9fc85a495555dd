"""Trainings of several processes on this machine: their data, their configuration, and the processes themselves."""

import json
import os
import socket
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from adatad_jax.config.fields import Config
from tests.tiny_run import make_data, run_config

TIME_LIMIT = 900.0  # seconds; the machine may be loaded


def make_run(folder: Path, videos: int = 6, tested: int = 3, **fields: Any) -> Path:
    """Writes data and a configuration file, which it returns; the last videos are those of the test subset."""
    data = make_data(folder, videos)
    database = json.loads((data / "all.json").read_text())["database"]
    for name in list(database)[-tested:]:
        database[name]["subset"] = "validation"
    (data / "some.json").write_text(json.dumps({"database": database}))
    return write_config(folder / "config.py", run_config(data, data / "some.json", **fields))


def write_config(path: Path, config: Config) -> Path:
    """Writes a configuration as a file that `--config` takes."""
    path.write_text(
        "from adatad_jax.config import default\n"
        "def get_config():\n"
        "    config = default()\n"
        f"    for name, value in {config.flat()!r}.items():\n"
        "        section, _, key = name.rpartition('.')\n"
        "        (config[section] if section else config)[key] = value\n"
        "    return config\n"
    )
    return path


def free_port() -> int:
    with socket.create_server(("", 0)) as one:
        port: int = one.getsockname()[1]
        return port


def start(
    arguments: Sequence[object],
    count: int,
    devices: int = 1,
    own: Mapping[int, Sequence[object]] | None = None,
    program: Sequence[object] = ("-m", "adatad_jax.train"),
) -> list[subprocess.Popen[str]]:
    """Starts the processes of a training with as many devices each.

    Args:
      arguments: of all.
      count: number of processes; 1 starts it without any variables.
      devices: of each process.
      own: process -> more arguments.
      program: what Python runs.
    """
    environment = {**os.environ, "JAX_PLATFORMS": "cpu", "PYTHONPATH": str(Path(__file__).parents[1])}
    environment["XLA_FLAGS"] = f"--xla_force_host_platform_device_count={devices}"
    if count > 1:
        environment |= {"JAX_COORDINATOR_ADDRESS": f"localhost:{free_port()}", "JAX_NUM_PROCESSES": str(count)}
    started = []
    for process in range(count):
        if count > 1:
            environment["JAX_PROCESS_ID"] = str(process)
        command = [sys.executable, *map(str, [*program, *arguments, *(own or {}).get(process, ())])]
        started.append(
            subprocess.Popen(
                command, env=environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, cwd=Path.cwd()
            )
        )
    return started


def finish(processes: Sequence[subprocess.Popen[str]]) -> list[tuple[int, str, str]]:
    """Waits for all; returns exit code, output and errors of each."""
    ended = []
    try:
        for process in processes:
            output, errors = process.communicate(timeout=TIME_LIMIT)
            ended.append((process.returncode, output, errors))
    finally:
        for process in processes:
            process.kill()
    return ended
