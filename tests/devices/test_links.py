"""Links of processes, between threads of one process: how they meet, what they exchange, and why they end."""

import re
import socket
import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from adatad_jax.devices.launch import Launch
from adatad_jax.devices.links import End, Links
from adatad_jax.devices.meeting import meet
from adatad_jax.devices.processes import ALONE, Processes
from adatad_jax.errors import Exit, Left, UserError
from tests.processes import free_port

TIMEOUT = 60.0


def launches(count: int, port: int | None = None) -> list[Launch]:
    address = f"localhost:{port or free_port()}"
    return [Launch("a test", address, count, index) for index in range(count)]


def met(count: int) -> list[Links]:
    with ThreadPoolExecutor(count) as pool:
        return list(pool.map(lambda launch: meet(launch, TIMEOUT, 0.0), launches(count)))


def at_once(*calls: Callable[[], object]) -> list[object]:
    """What the calls return, each in a thread of its own, or the error that it raises."""

    def caught(call: Callable[[], object]) -> object:
        try:
            return call()
        except UserError as error:
            return error

    with ThreadPoolExecutor(len(calls)) as pool:
        return list(pool.map(caught, calls))


def close(links: list[Links]) -> None:
    at_once(*(one.close for one in links))


def test_all_get_what_all_give_in_their_order() -> None:
    links = met(3)
    processes = [Processes(index, 3, one) for index, one in enumerate(links)]
    first = [one.post("numbers", [one.index, "a"]) for one in processes]
    second = [one.post("more", {"é": one.index}) for one in processes]  # posted before the first is read
    assert at_once(*first) == [[[0, "a"], [1, "a"], [2, "a"]]] * 3
    assert at_once(*second) == [[{"é": 0}, {"é": 1}, {"é": 2}]] * 3
    big = [bytes([index]) * 2_000_000 for index in range(3)]
    assert at_once(*(lambda one=one: one.gather("bytes", big[one.index]) for one in processes)) == [big] * 3  # type: ignore[misc]
    close(links)


def test_a_wait_may_be_bounded() -> None:
    links = met(2)
    result = links[0].post("a step", b"1")
    with pytest.raises(TimeoutError):
        result(0.05)
    links[1].post("a step", b"2")
    assert result(TIMEOUT) == [b"1", b"2"]
    close(links)


def test_processes_that_differ_are_named_in_all() -> None:
    links = met(2)
    one, other = (Processes(index, 2, own) for index, own in enumerate(links))
    at_once(lambda: one.agree({"a": 1, "b": 2}), lambda: other.agree({"a": 1, "b": 2}))
    errors = at_once(lambda: one.agree({"a": 1, "b": 2}), lambda: other.agree({"a": 1, "b": 3}))
    assert len({str(error) for error in errors}) == 1
    assert "process 1 has 3, process 0 2" in str(errors[0])
    assert "a:" not in str(errors[0])
    close(links)


def test_a_failure_reaches_those_who_wait_with_message_and_code() -> None:
    links = met(3)
    waiting = [links[index].post("a step", b"") for index in (0, 1)]
    failing = threading.Thread(target=links[2].fail, args=("a.mp4: broken", Exit.MACHINE))
    failing.start()
    errors = at_once(*waiting)
    assert all(isinstance(error, UserError) and error.exit_code is Exit.MACHINE for error in errors)
    assert {str(error) for error in errors} == {"process 2: a.mp4: broken"}
    for one in links[:2]:
        one._stop()  # else the listener would end this process, as it does where a main thread is stuck
    failing.join()


def test_processes_that_are_not_at_the_same_place_end() -> None:
    links = met(2)
    errors = at_once(links[0].post("a step", b""), links[1].post("an evaluation", b""))
    assert all("a step" in str(error) and "an evaluation" in str(error) for error in errors)
    for one in links:
        one._stop()


def test_a_process_that_does_not_come_is_named_by_those_that_do() -> None:
    zero, one, _ = launches(3)
    errors = at_once(lambda: meet(zero, 2.0, 0.0), lambda: meet(one, 2.0, 0.0))
    assert len({str(error) for error in errors}) == 1
    assert re.search(r"\b3 processes\b.* 2 .*\b2 s\b", str(errors[0]), re.DOTALL)


def test_two_processes_with_one_number_and_other_counts() -> None:
    port = free_port()
    zero, one, _ = launches(3, port)
    errors = at_once(*(lambda launch=launch: meet(launch, 20.0, 0.0) for launch in (zero, one, one)))  # type: ignore[misc]
    assert all(re.search(r"\btwo processes\b.*\bprocess 1\b", str(error)) for error in errors)
    two = Launch("a test", f"localhost:{port}", 2, 1)
    errors = at_once(*(lambda launch=launch: meet(launch, 20.0, 0.0) for launch in (zero, two)))  # type: ignore[misc]
    assert all(re.search(r"\bprocess 1\b.*\b2 processes\b", str(error)) for error in errors)


def test_two_processes_that_both_say_that_they_are_the_first() -> None:
    zero, _ = launches(2)
    clock = time.monotonic()
    errors = at_once(*(lambda: meet(zero, 30.0, 0.0) for _ in range(2)))
    assert all(re.search(r"\btwo processes\b.*\bprocess 0\b", str(error)) for error in errors)
    assert time.monotonic() < clock + 25


def test_an_address_where_nobody_is() -> None:
    launch = launches(2)[1]
    clock = time.monotonic()
    with pytest.raises(UserError, match=rf"{launch.coordinator} within 1 s .*Connection refused"):
        meet(launch, 1.0, 0.0)
    assert time.monotonic() < clock + 30


def test_a_port_that_another_program_has() -> None:
    with socket.create_server(("", 0)) as other:
        port = other.getsockname()[1]
        with pytest.raises(UserError, match=rf"port {port}\b.*in use"):
            meet(launches(2, port)[0], 0.5, 0.0)


def test_a_single_process_never_waits() -> None:
    assert ALONE.post("a step", 3)() == [3]
    assert ALONE.gather("detections", b"x") == [b"x"]
    ALONE.agree({"a": 1})


def test_the_end_of_a_process_that_was_asked_to_leave_is_no_error() -> None:
    end = End(1, "left in the evaluation after epoch 3", Exit.CONTINUE).error()
    assert (type(end), str(end)) == (Left, "in the evaluation after epoch 3")
    failed = End(1, "a.mp4: gone", Exit.MACHINE).error()
    assert (type(failed), str(failed)) == (UserError, "process 1: a.mp4: gone")
