"""Faults of memory and devices become messages; mistakes of a program do not."""

import re

import jax
import jax.numpy as jnp
import pytest

from adatad_jax.devices.faults import faults_explained
from adatad_jax.errors import Exit, MachineError, UserError


def test_memory_of_the_device_that_runs_out_names_the_savings_in_order() -> None:
    """A petabyte of float32."""
    with (
        pytest.raises(UserError, match=r"(?s)memory of the device.*1\. remat.*2\. window") as error,
        faults_explained(lambda of_device: ("remat", "window") if of_device else ()),
    ):
        jax.jit(lambda x: jnp.outer(x, x))(jnp.zeros(2**24)).block_until_ready()
    assert error.value.exit_code == Exit.USER_ERROR


def test_memory_of_the_machine_that_runs_out_names_other_savings() -> None:
    with (
        pytest.raises(UserError, match=r"(?s)memory of the machine.*1\. threads"),
        faults_explained(lambda of_device: () if of_device else ("threads",)),
    ):
        raise MemoryError
    with pytest.raises(UserError, match="memory of the machine"), faults_explained():
        raise MemoryError


def test_a_device_that_fails_is_no_mistake_of_the_user() -> None:
    with pytest.raises(MachineError, match=r"\bdevice lost\b.*\bsame command\b") as error, faults_explained():
        raise jax.errors.JaxRuntimeError("INTERNAL: device lost\n  at some place")
    assert error.value.exit_code == Exit.MACHINE == 70
    assert "\n" not in str(error.value)


def test_a_mistake_in_a_program_keeps_its_traceback() -> None:
    with pytest.raises(jax.errors.JaxRuntimeError, match=re.escape("shapes")), faults_explained():
        raise jax.errors.JaxRuntimeError("INVALID_ARGUMENT: shapes differ")
