"""What tests of whole trainings share."""

from collections.abc import Iterator

import jax
import pytest


@pytest.fixture(scope="module")
def quickly_compiled() -> Iterator[None]:
    """Programs that are compiled in less time, and run in more."""
    jax.config.update("jax_disable_most_optimizations", True)
    yield
    jax.config.update("jax_disable_most_optimizations", False)
