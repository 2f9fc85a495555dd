"""Models are compared with PyTorch, and their fast ways with plain ones, as users have them."""

import pytest


@pytest.fixture(scope="module", autouse=True)
def as_users_have_them(fully_compiled: None) -> None:
    """Compiles all programs of these tests with the usual optimisation."""
