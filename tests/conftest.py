"""Four virtual CPU devices, so that the data-parallel step is tested everywhere, and float32 products that are; set
before jax starts. Programs are compiled once per session, also for the processes that tests start."""

import atexit
import os
import shutil
import tempfile

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
# On a GPU or TPU (`JAX_PLATFORMS`), the parity with the release would otherwise be that of TF32 or bfloat16.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")

if "JAX_COMPILATION_CACHE_DIR" not in os.environ:  # the workers of xdist have it from the process that starts them
    _compiled = tempfile.mkdtemp(prefix="adatad_compiled_")
    atexit.register(shutil.rmtree, _compiled, ignore_errors=True)
    os.environ["JAX_COMPILATION_CACHE_DIR"] = _compiled
    os.environ["JAX_PERSISTENT_CACHE_MIN_COMPILE_TIME_SECS"] = "0.5"
