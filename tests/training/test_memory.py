"""What a run may do about memory that is short."""

from adatad_jax.config.fields import Config
from adatad_jax.training.memory import memory_savings


def test_savings_come_in_order_and_without_what_is_done_already() -> None:
    config = Config().with_fields({"model.remat": False, "model.mlp_chunks": 8, "model.dtype": "float32"})
    found = "\n".join(memory_savings(config, of_device=True))
    order = ("model.memory", "model.remat=True", "mlp_chunks=1", "model.dtype=", "stream_dtype", "frozen_dtype")
    places = [found.index(saving) for saving in (*order, "data.window", "train.batch_size")]
    assert places == sorted(places)
    smallest = {"model.remat": True, "model.attention_chunks": 1, "model.mlp_chunks": 1}
    done = config.with_fields({**smallest, **{f"model.{name}dtype": "bfloat16" for name in ("", "stream_", "frozen_")}})
    assert "model." not in "\n".join(memory_savings(done, of_device=True))


def test_savings_that_do_nothing_are_not_listed() -> None:
    full, frozen, plain = (Config().with_fields({"model.adaptation": kind}) for kind in ("full", "frozen", "adapter"))
    assert "frozen_dtype" not in "\n".join(memory_savings(full, of_device=True))  # nothing is frozen
    assert "stream_dtype" not in "\n".join(memory_savings(frozen, of_device=True))  # nothing is kept between blocks
    assert "stream_dtype" in "\n".join(memory_savings(plain, of_device=True))


def test_the_machines_memory_has_other_savings() -> None:
    found = "\n".join(
        memory_savings(Config().with_fields({"data.in_memory": True, "data.threads": 3}), of_device=False)
    )
    assert "data.in_memory=False" in found
    assert "data.threads below 3" in found
    assert "remat" not in found
