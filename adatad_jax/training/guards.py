"""Guards of the training loop: what ends a run before it spoils its checkpoints."""

import math

from adatad_jax.errors import UserError
from adatad_jax.training.loop import Done, Hook


class StopIfNotFinite(Hook):
    """Ends the run at a loss or gradient norm that is not finite, before anything is saved."""

    def after_step(self, done: Done) -> None:
        loss, norm = done.metrics["loss"], done.metrics["grad_norm"]
        if not math.isfinite(loss) or not math.isfinite(norm):
            raise UserError(
                f"step {done.step}: loss {loss}, gradient norm {norm}: not finite. The last checkpoint is whole; lower "
                "--config.train.tia_rate and head_rate, or set --config.model.dtype=float32, and start again"
            )
