"""Four virtual CPU devices, so that the data-parallel step is tested everywhere, and float32 products that are; set
before jax starts."""

import os

os.environ.setdefault("JAX_PLATFORMS", "cpu")
os.environ["XLA_FLAGS"] = f"{os.environ.get('XLA_FLAGS', '')} --xla_force_host_platform_device_count=4"
# On a GPU or TPU (`JAX_PLATFORMS`), the parity with the release would otherwise be that of TF32 or bfloat16.
os.environ.setdefault("JAX_DEFAULT_MATMUL_PRECISION", "highest")
