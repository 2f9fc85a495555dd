"""Four virtual CPU devices, so that the data-parallel step is tested everywhere, and float32 products that are; set
before jax starts. Programs are compiled once for all tests, also for the processes that they start, and kept for the
next session; pytest's `--cache-clear` removes them. Most are compiled with little optimisation, which takes half the
time; the fixture `fully_compiled` is for comparisons with PyTorch, which are to hold for what users run, and
`JAX_DISABLE_MOST_OPTIMIZATIONS=0` compiles all tests as users have it."""

import os
from collections.abc import Iterator
from pathlib import Path

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
# On a GPU or TPU (`JAX_PLATFORMS`), the parity with the release would otherwise be that of TF32 or bfloat16.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

os.environ.setdefault("JAX_DISABLE_MOST_OPTIMIZATIONS", "1")
os.environ.setdefault("JAX_COMPILATION_CACHE_DIR", str(Path(__file__).parents[1] / ".pytest_cache/d/compiled"))
os.environ.setdefault("JAX_COMPILATION_CACHE_MAX_SIZE", str(2**30))
os.environ.setdefault("JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS", "0.2")

import jax
import pytest

from adatad_jax.devices.compilation import keep_compiled

keep_compiled()


@pytest.fixture(scope="module")
def fully_compiled() -> Iterator[None]:
    """Programs that are compiled as users have them, also those that earlier tests have compiled otherwise."""
    if os.environ["JAX_DISABLE_MOST_OPTIMIZATIONS"] != "1":
        yield
        return
    jax.clear_caches()
    jax.config.update("jax_disable_most_optimizations", False)
    yield
    jax.config.update("jax_disable_most_optimizations", True)
