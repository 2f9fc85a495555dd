"""What makes a training need less memory."""

from adatad_jax.annotations.format_keys import AUTO
from adatad_jax.config.clip_fields import FinetuningConfig, PretrainingConfig
from adatad_jax.config.fields import Config
from adatad_jax.config.run_fields import RunConfig


def memory_savings(config: Config, of_device: bool) -> list[str]:
    """Lists what makes a run need less memory, in the order in which to try.

    Args:
      config: of the run. What it already has is not listed.
      of_device: whether the devices' memory is short, not the machine's.
    """
    model = config.model
    groups = {name: getattr(model, name) for name in ("attention_chunks", "mlp_chunks")}
    found = {
        "model.memory=GIB, below what was estimated: less is kept, and less computed at once": AUTO
        in (model.remat, *groups.values()),
        "model.remat=True: the backbone's activations are computed twice, not kept": model.remat is False,
        **{
            f"model.{name}=1: fewer chunks at once{f' than {chunks}' if chunks else ''}": chunks not in (AUTO, 1)
            for name, chunks in groups.items()
        },
        "model.dtype=bfloat16: activations of half the size": model.dtype == "float32",
        "model.stream_dtype=bfloat16: what is kept between blocks has half the size": model.stream_dtype == "float32"
        and model.adaptation in ("tia", "adapter", "full"),
        "model.frozen_dtype=bfloat16: frozen weights of half the size": model.frozen_dtype == "float32"
        and model.adaptation != "full",
        f"data.window below {config.data.window}: shorter windows, which see less context": True,
    }
    if not of_device:
        found = _of_machine(config)
    found |= _of_batch(config, of_device)
    return _listed(found | _of_test(config.test.batch_size))


def clip_memory_savings(config: PretrainingConfig | FinetuningConfig, of_device: bool) -> list[str]:
    """Lists what makes a training on clips need less memory, as `memory_savings`."""
    found = {
        "model.remat=True: the encoder's activations are computed twice, not kept": not config.model.remat,
        "model.dtype=bfloat16: activations of half the size": config.model.dtype == "float32",
    }
    found = {**(found if of_device else _of_machine(config)), **_of_batch(config, of_device)}
    if isinstance(config, FinetuningConfig):
        found |= _of_test(config.test.batch_size)
    return _listed(found)


def _of_test(batch_size: int) -> dict[str, bool]:
    """Returns what makes an evaluation need less memory -> whether it is left to do."""
    return {f"test.batch_size below {batch_size}, if it happened in an evaluation": batch_size > 1}


def _of_machine(config: RunConfig) -> dict[str, bool]:
    """Returns what makes a machine need less memory -> whether it is left to do."""
    data = config.data
    return {
        "data.in_memory=False: frames are decoded when they are needed": data.in_memory,
        f"data.threads below {data.threads}: fewer samples are loaded at a time": data.threads > 1,
    }


def _of_batch(config: RunConfig, of_device: bool) -> dict[str, bool]:
    """Returns how batches need less memory -> whether it is left to do."""
    train = config.train
    return {
        f"train.accumulate above {train.accumulate}: the same batch in smaller parts": of_device,
        f"train.batch_size below {train.batch_size}": train.batch_size > 1,
    }


def _listed(found: dict[str, bool]) -> list[str]:
    """Returns the options that are left, and what helps in any case."""
    listed = [f"--config.{saving}" for saving, is_left in found.items() if is_left]
    return [*listed, "a device, or a machine, with more memory"]
