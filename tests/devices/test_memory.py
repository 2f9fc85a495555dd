"""Memory: what a program needs whose arrays can be counted by hand, and what a machine has."""

from pathlib import Path

import jax
import jax.numpy as jnp

from adatad_jax.devices.memory import machine_memory, memory_available, memory_needed


def test_arguments_and_outputs_are_counted_in_bytes() -> None:
    one, other = jax.ShapeDtypeStruct((64, 32), jnp.float32), jax.ShapeDtypeStruct((32, 16), jnp.float32)
    need = memory_needed(jax.jit(lambda a, b: a @ b).lower(one, other).compile())
    assert need is not None
    assert need.arguments == 4 * (64 * 32 + 32 * 16)
    assert need.outputs == 4 * 64 * 16
    assert need.total == need.arguments + need.temporaries + need.outputs


def test_an_output_in_the_place_of_an_argument_is_not_counted_twice() -> None:
    array = jax.ShapeDtypeStruct((64, 32), jnp.float32)
    need = memory_needed(jax.jit(lambda a: a + 1, donate_argnums=0).lower(array).compile())
    assert need is not None
    assert (need.arguments, need.outputs) == (4 * 64 * 32, 0)


def test_cpu_devices_share_the_available_memory() -> None:
    available = memory_available(jax.devices("cpu")[0])
    assert available is None or 0 < available < 2**50


def machine(folder: Path, files: dict[str, str]) -> Path:
    """Makes a file system with 8,000,000 KiB available, and these files."""
    for name, text in {"proc/meminfo": "MemTotal: 9000000 kB\nMemAvailable:    8000000 kB\n", **files}.items():
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)
    return folder


def test_a_machine_has_what_is_available(tmp_path: Path) -> None:
    assert machine_memory(machine(tmp_path, {})) == 8_000_000 * 1024


def test_a_control_group_limits_what_a_machine_has(tmp_path: Path) -> None:
    """Version 2: a job whose parent has a limit of 3 GB, of which 1 GB is used, 0.25 GB of it pages of files."""
    group = {
        "memory.max": "3000000000\n",
        "memory.current": "1000000000\n",
        "memory.stat": "anon 1\ninactive_file 250000000\n",
    }
    files = {f"sys/fs/cgroup/jobs/{name}": text for name, text in group.items()}
    files |= {"proc/self/cgroup": "0::/jobs/one\n", "sys/fs/cgroup/jobs/one/memory.max": "max\n"}
    assert machine_memory(machine(tmp_path, files)) == 2_250_000_000


def test_a_container_of_version_1_is_its_own_root(tmp_path: Path) -> None:
    group = {"limit_in_bytes": "2000000000", "usage_in_bytes": "500000000", "stat": "total_inactive_file 0"}
    files = {f"sys/fs/cgroup/memory/memory.{name}": text for name, text in group.items()}
    files |= {"proc/self/cgroup": "5:devices:/x\n4:memory:/docker/0123\n0::/\n"}
    assert machine_memory(machine(tmp_path, files)) == 1_500_000_000


def test_a_group_without_a_limit_does_not_count(tmp_path: Path) -> None:
    files = {"proc/self/cgroup": "0::/\n", "sys/fs/cgroup/memory.max": "max\n"}
    assert machine_memory(machine(tmp_path, files)) == 8_000_000 * 1024
