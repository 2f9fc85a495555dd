"""Faults of devices and memory as messages: what JAX raises for them says nothing that a user can act on."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager

import jax

from adatad_jax.errors import MachineError, UserError, one_line

# How the messages of XLA's errors start. Others, such as INVALID_ARGUMENT, are mistakes in a program, not faults.
OUT_OF_MEMORY = "RESOURCE_EXHAUSTED"
FAULTS = ("INTERNAL", "UNAVAILABLE", "ABORTED", "DATA_LOSS", "DEADLINE_EXCEEDED", "UNKNOWN", "CANCELLED")


@contextmanager
def faults_explained(savings: Callable[[bool], Sequence[str]] = lambda of_device: ()) -> Iterator[None]:
    """Turns faults of devices and memory inside the block into errors with a message.

    Args:
      savings: returns what makes a command need less memory, in the order in which to try; takes whether it is the
        device's memory that ran out, not the machine's.

    Raises:
      UserError: memory ran out.
      MachineError: a device was lost, or its runtime failed.
    """
    try:
        yield
    except MemoryError as error:
        raise UserError(_out_of_memory("the machine", error, savings(False))) from error
    except jax.errors.JaxRuntimeError as error:
        text = str(error)
        if OUT_OF_MEMORY in text:
            raise UserError(_out_of_memory("the device", error, savings(True))) from error
        if not text.startswith(FAULTS):
            raise
        raise MachineError(
            f"a device, or its runtime, failed ({one_line(error)}). What was saved before is whole: the same command "
            "continues. If it fails again, look at the device (nvidia-smi, dmesg) or take another machine"
        ) from error


def _out_of_memory(whose: str, error: Exception, savings: Sequence[str]) -> str:
    """Returns the message about memory that ran out."""
    said = f" ({one_line(error)})" if str(error) else ""
    if not savings:
        return f"out of memory of {whose}{said}; use smaller batches or another machine"
    listing = "".join(f"\n  {number}. {saving}" for number, saving in enumerate(savings, 1))
    return f"out of memory of {whose}{said}. What was saved before is whole. What helps, in this order:{listing}"
