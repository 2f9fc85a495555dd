"""The fields that a configuration may leave open, to be chosen for its data set."""

from adatad_jax.config.fields import Config

# Fields that may be open (0 or ()) if `propose` is set.
PROPOSED = (
    "data.rate",
    "data.stride",
    "data.window",
    "model.regression_ranges",
    "train.batch_size",
    "train.epochs",
    "train.schedule_epochs",
    "train.warmup_epochs",
    "train.checkpoint_every",
)


def open_fields(config: Config) -> tuple[str, ...]:
    """Returns the names of the open fields, which `adatad_jax.data.propose` fills."""
    values = config.flat()
    return tuple(name for name in PROPOSED if values[name] in (0, ())) if config.propose else ()


def take_open_fields(config: Config, run: Config) -> Config:
    """Fills the open fields of a configuration with the values of a run's configuration, which has none open."""
    values = run.flat()
    return config.with_fields({"propose": False, **{name: values[name] for name in open_fields(config)}})
