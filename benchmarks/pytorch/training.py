"""The whole detector in PyTorch, its inference and its training step."""

from collections.abc import Callable, Iterable
from typing import Any, NamedTuple

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.optim.swa_utils import get_ema_multi_avg_fn

from adatad_jax.detection.objective import LossConfig
from adatad_jax.models.sizes import DetectorConfig, ViTConfig
from adatad_jax.training.optimizer import BETA1, BETA2, EPS, OptimizerConfig
from benchmarks.pytorch.backbone import Backbone
from benchmarks.pytorch.detector import Head, Neck, Predictions, Projection
from benchmarks.pytorch.objective import Objective


class Windows(NamedTuple):
    """A training batch: `[B, T, H, W, 3]` uint8 frames, `[B, positions]` bool mask, `[B, G, 2]` segments and labels."""

    frames: Tensor
    mask: Tensor
    segments: Tensor
    labels: Tensor


class AdaTAD(nn.Module):
    """The whole detector, from frames to predictions; the backbone is frozen except for its adapters."""

    def __init__(self, vit: ViTConfig, detector: DetectorConfig, side: int, recompute: bool = False) -> None:
        """Makes the layers.

        Args:
          vit, detector: dimensions.
          side: of the square frames, pixels.
          recompute: whether the backbone's blocks compute their activations again in the backward pass.
        """
        super().__init__()
        self.strides, self.length = detector.strides, detector.max_length
        self.backbone = Backbone(vit, side, side, recompute)
        self.projection = Projection(detector, vit.width)
        self.neck, self.rpn_head = Neck(detector), Head(detector)
        for name, parameter in self.backbone.named_parameters():
            parameter.requires_grad_(".adapter." in name)

    def features(self, frames: Tensor, positions: int) -> Tensor:
        """Computes `[B, positions, C]` float32, one feature per grid position."""
        x: Tensor = self.backbone(frames)
        if x.shape[1] == positions:
            return x
        return F.interpolate(x.transpose(1, 2), positions, mode="linear", align_corners=False).transpose(1, 2)

    def forward(self, frames: Tensor, mask: Tensor) -> Predictions:
        """Detects in windows of at most the length of training windows."""
        missing = self.length - mask.shape[1]
        x = F.pad(self.features(frames, mask.shape[1]), (0, 0, 0, missing))
        mask = F.pad(mask, (0, missing))
        masks = [mask[:, ::stride] for stride in self.strides]
        out: Predictions = self.rpn_head(self.neck(self.projection(x, masks)), masks)
        return out


def freeze_in(model: AdaTAD, dtype: torch.dtype) -> None:
    """Stores the matrices that are not trained in a dtype, so that mixed precision does not cast them at each step."""
    for parameter in model.backbone.parameters():
        if not parameter.requires_grad and parameter.ndim > 1:
            parameter.data = parameter.data.to(dtype)


def compiled(function: Callable[..., Any], device: torch.device) -> Callable[..., Any]:
    """Compiles a function for fixed shapes; on a GPU with the search for the best kernels, at the first call."""
    mode = "max-autotune-no-cudagraphs" if device.type == "cuda" else None
    result: Callable[..., Any] = torch.compile(function, dynamic=False, mode=mode)
    return result


class Inference:
    """Predictions of windows, without anything that training needs."""

    def __init__(self, model: AdaTAD, dtype: torch.dtype, compile_it: bool) -> None:
        """Prepares a model, whose mode it sets."""
        self._device = next(model.parameters()).device
        self._model, self._dtype = model.eval(), dtype
        self._call = compiled(model, self._device) if compile_it else model

    @torch.inference_mode()
    def __call__(self, frames: Tensor, mask: Tensor) -> Predictions:
        """Predicts."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            found: Predictions = self._call(frames, mask)
            return found


class Training:
    """Training steps: forward, backward, clipping, AdamW in its groups, and the average of the trained parameters.

    Attributes:
      model: the detector; its gradients are those of the last step.
      optimizer: AdamW.
      averages: of the trained parameters, in the model's order.
    """

    def __init__(
        self, model: AdaTAD, objective: Objective, config: OptimizerConfig, decay: float, dtype: torch.dtype
    ) -> None:
        """Prepares a model, whose mode it sets.

        Args:
          model: on its device, as `objective` is.
          objective: the loss.
          config: rates, decay and clipping.
          decay: factor of the old average.
          dtype: of matrix products.
        """
        self.model = model.train()
        self._device, self._dtype, self._clip = next(model.parameters()).device, dtype, config.clip_norm
        self._trained = [parameter for parameter in model.parameters() if parameter.requires_grad]
        self.averages = [parameter.detach().clone() for parameter in self._trained]
        self._average = get_ema_multi_avg_fn(decay)
        self.optimizer = torch.optim.AdamW(_groups(model, config), betas=(BETA1, BETA2), eps=EPS, fused=True)
        self._loss: Callable[..., Any] = lambda batch: objective(model(batch.frames, batch.mask), *batch[2:])

    def compile(self) -> None:
        """Compiles forward and backward pass, at the next step."""
        self._loss = compiled(self._loss, self._device)

    def loss(self, batch: Windows) -> Tensor:
        """Computes the loss, with a graph for the backward pass."""
        with torch.autocast(self._device.type, self._dtype, enabled=self._dtype != torch.float32):
            found: Tensor = self._loss(batch)
            return found

    def step(self, batch: Windows) -> Tensor:
        """Takes a step; returns the loss, which the device may still compute."""
        self.optimizer.zero_grad(set_to_none=True)
        loss = self.loss(batch)
        loss.backward()
        self.update()
        return loss.detach()

    def update(self) -> None:
        """Changes the parameters and their averages by the gradients that they have."""
        nn.utils.clip_grad_norm_(self._trained, self._clip)
        self.optimizer.step()
        with torch.no_grad():
            self._average(self.averages, self._trained, None)


def make_training(
    model: AdaTAD, detector: DetectorConfig, loss: LossConfig, config: OptimizerConfig, decay: float, dtype: torch.dtype
) -> Training:
    """Makes the training of a model on its device; see `Training` and `Objective`."""
    objective = Objective(detector, loss).to(next(model.parameters()).device)
    return Training(model, objective, config, decay, dtype)


def _groups(model: AdaTAD, config: OptimizerConfig) -> Iterable[dict[str, Any]]:
    """Returns the groups of AdamW: adapters, and the detector's tensors with and without decay."""
    named = [(name, parameter) for name, parameter in model.named_parameters() if parameter.requires_grad]
    adapters = [parameter for name, parameter in named if name.startswith("backbone.")]
    rest = [(name, parameter) for name, parameter in named if not name.startswith("backbone.")]
    kernels = [parameter for name, parameter in rest if name.endswith("weight") and parameter.ndim > 1]
    others = [parameter for name, parameter in rest if not (name.endswith("weight") and parameter.ndim > 1)]
    return [
        {"params": adapters, "lr": config.tia_rate, "weight_decay": config.weight_decay},
        {"params": kernels, "lr": config.head_rate, "weight_decay": config.weight_decay},
        {"params": others, "lr": config.head_rate, "weight_decay": 0.0},
    ]
