"""Which devices are used, and the precision of their products."""

import jax


def set_precision(dtype: str) -> None:
    """Makes float32 mean float32: GPUs and TPUs would silently use TF32 or bfloat16 products."""
    if dtype == "float32":
        jax.config.update("jax_default_matmul_precision", "highest")


def usable_devices(batch_size: int) -> list[jax.Device]:
    """Returns as many local devices as share a batch evenly."""
    devices = jax.local_devices()
    count = max(n for n in range(1, len(devices) + 1) if batch_size % n == 0)
    result: list[jax.Device] = devices[:count]
    return result
