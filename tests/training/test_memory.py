"""What a run may do about memory that is short."""

from adatad_jax.config.fields import Config
from adatad_jax.training.memory import levers


def test_levers_come_in_order_and_without_what_is_done_already() -> None:
    config = Config().with_fields({"model.remat": False, "model.dtype": "float32", "train.batch_size": 4})
    found = "\n".join(levers(config, of_device=True))
    places = [found.index(lever) for lever in ("model.remat=True", "bfloat16", "data.window", "train.batch_size")]
    assert places == sorted(places)
    done = config.with_fields({"model.remat": True, "model.dtype": "bfloat16"})
    assert not any(lever in "\n".join(levers(done, of_device=True)) for lever in ("remat", "bfloat16"))


def test_the_machines_memory_has_other_levers() -> None:
    found = "\n".join(levers(Config().with_fields({"data.in_memory": True, "data.threads": 3}), of_device=False))
    assert "data.in_memory=False" in found
    assert "data.threads below 3" in found
    assert "remat" not in found
