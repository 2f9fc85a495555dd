"""How the processes of a run meet: all others connect to process 0 at the coordinator's address."""

import json
import os
import selectors
import socket
import time
from contextlib import suppress
from multiprocessing.connection import Connection
from typing import Any

from adatad_jax.devices.launch import Launch
from adatad_jax.devices.links import Links, configure
from adatad_jax.errors import UserError

_GREETING = "adatad_jax"
_PAUSE = 0.2  # seconds between two tries
_ANSWER = 5.0  # seconds that a program at the other end may take to say who it is
_REFUSAL = 2.0  # seconds that another process 0 may take to refuse this one


def meet(launch: Launch, timeout: float, grace: float) -> Links:
    """Waits until all processes of a run are there.

    Args:
      launch: of this process.
      timeout: seconds to wait.
      grace: seconds in which all leave, where they are asked to.

    Raises:
      UserError: process 0 is not at the coordinator's address, a process does not come, another program has the port,
        two processes have one index, or they expect different numbers of processes.
    """
    deadline = time.monotonic() + timeout
    if launch.index == 0:
        here, names = _gather(launch, deadline, timeout)
        return Links(0, launch.count, here, names, grace)
    connection, name = _go(launch, deadline, timeout)
    return Links(launch.index, launch.count, {0: connection}, {0: name}, grace)


def _name() -> str:
    return f"pid {os.getpid()} on {socket.gethostname()}"


def _gather(launch: Launch, deadline: float, timeout: float) -> tuple[dict[int, Connection], dict[int, str]]:
    """Waits, as process 0, for all others, and tells them that all are there, or why the run ends."""
    come: list[Connection] = []
    here: dict[int, Connection] = {}
    names: dict[int, str] = {}
    try:
        with _listener(launch, deadline) as listener, selectors.DefaultSelector() as selector:
            selector.register(listener, selectors.EVENT_READ)
            while len(here) < launch.count - 1:
                if not selector.select(max(0.0, deadline - time.monotonic())):
                    missing = ", ".join(str(one) for one in range(1, launch.count) if one not in here)
                    raise UserError(
                        f"process 0 at {launch.coordinator}: of {launch.count} processes (by {launch.by}), {missing} "
                        f"did not come within {timeout:g} s; see their messages; --config.distributed.timeout waits "
                        "longer"
                    )
                connection, greeting = _greeted(listener)
                if connection is not None:
                    come.append(connection)
                    _check(greeting, launch, names)
                    here[greeting["process"]], names[greeting["process"]] = connection, greeting["name"]
    except UserError as error:
        for connection in come:
            with suppress(OSError):  # it has given up
                connection.send_bytes(json.dumps({"refused": str(error)}).encode())
        raise
    for connection in here.values():
        connection.send_bytes(json.dumps({"name": _name()}).encode())
    return here, names


def _listener(launch: Launch, deadline: float) -> socket.socket:
    """Listens at the coordinator's port. A run that has just ended may still have it.

    Raises:
      UserError: another process 0 has it, or another program until the deadline.
    """
    port = int(launch.coordinator.rpartition(":")[2])
    both = socket.has_dualstack_ipv6()
    family = socket.AF_INET6 if both else socket.AF_INET
    while True:
        try:
            return socket.create_server(("", port), family=family, dualstack_ipv6=both, backlog=launch.count)
        except OSError as error:
            _ask(launch, port)
            if time.monotonic() > deadline:
                reason = os.strerror(error.errno or 0)
                raise UserError(
                    f"process 0 cannot listen at port {port} of {launch.coordinator} ({reason}): another program has "
                    "it; give a free port"
                ) from error
        time.sleep(_PAUSE)


def _greeted(listener: socket.socket) -> tuple[Connection | None, dict[str, Any]]:
    """Accepts a connection, and reads who comes; None for a program that is no process of a run."""
    one, _ = listener.accept()
    one.settimeout(_ANSWER)
    try:
        with one.dup() as same, same.makefile("rb") as lines:
            greeting = json.loads(lines.readline(1000))
        if greeting["greeting"] == _GREETING:
            return configure(one), greeting
    except (OSError, ValueError, KeyError, TypeError):
        pass
    one.close()
    return None, {}


def _check(greeting: dict[str, Any], launch: Launch, names: dict[int, str]) -> None:
    """Raises `UserError` if a process does not belong to this run."""
    process, count, name = greeting["process"], greeting["processes"], greeting["name"]
    if count != launch.count:
        raise UserError(
            f"process {process} ({name}) expects {count} processes, process 0 ({_name()}) {launch.count}: give all the "
            "same number"
        )
    if process in names or process == 0:
        first = names.get(process, _name())
        raise UserError(f"two processes say that they are process {process}: {first} and {name}; number them from 0")


def _ask(launch: Launch, port: int) -> None:
    """Tells whoever listens at process 0's own port who this is; another process 0 refuses it, which is raised."""
    with suppress(OSError, EOFError, ValueError, KeyError, TypeError):  # no process of a run, or one that has ended
        _greet(launch, "localhost", port, _ANSWER, _REFUSAL)


def _greet(launch: Launch, host: str, port: int, timeout: float, patience: float) -> tuple[Connection, str] | None:
    """Connects to process 0 and says who this is.

    Args:
      launch: of this process.
      host, port: where process 0 listens.
      timeout: seconds to wait for the connection.
      patience: seconds to wait for the answer, which comes once all are there.

    Returns:
      The connection and the name of process 0; None if no answer came.

    Raises:
      UserError: process 0 refuses this process.
      OSError, EOFError, ValueError, KeyError, TypeError: nobody is there, or another program.
    """
    greeting = {"greeting": _GREETING, "process": launch.index, "processes": launch.count, "name": _name()}
    one = socket.create_connection((host, port), timeout)
    one.sendall(json.dumps(greeting).encode() + b"\n")
    connection = configure(one)
    if not connection.poll(patience):
        return None
    answer = json.loads(connection.recv_bytes(2**20))
    if "refused" in answer:
        raise UserError(answer["refused"])
    return connection, answer["name"]


def _go(launch: Launch, deadline: float, timeout: float) -> tuple[Connection, str]:
    """Connects, as another process, to process 0, and waits until all are there."""
    host, _, port = launch.coordinator.rpartition(":")
    reason: object = "no answer"
    while time.monotonic() < deadline:
        try:
            # Process 0 may have started later, and waits as long.
            met = _greet(launch, host.strip("[]"), int(port), min(_ANSWER, timeout), timeout + _ANSWER)
            if met is not None:
                return met
            reason = "another program is there, or process 0 is stuck"
        except (EOFError, ValueError, KeyError, TypeError):
            reason = "another program answers there"
        except OSError as error:  # also if the answer is no message
            reason = error.strerror or error
        time.sleep(_PAUSE)
    raise UserError(
        f"process {launch.index} of {launch.count} (by {launch.by}) did not reach process 0 at {launch.coordinator} "
        f"within {timeout:g} s ({reason}); check the address, that process 0 runs there, and that nothing blocks "
        "the port; --config.distributed.timeout waits longer"
    )
