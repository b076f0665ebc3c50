"""Grad-CAM: where in an image the logit of a class comes from, in a net that is trained."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sweeper.models.errors import UserError, choose
from sweeper.models.training.run import Order, dataset_of

if TYPE_CHECKING:
    import numpy as np
    from torch import Tensor, nn

    from sweeper.models.method import Method
    from sweeper.models.values import Batch


@dataclass(frozen=True)
class Focus:
    """Test rows: images (N, C, H, W) as the data hold them, maps (N, h, w) from 0 to 1, target and predicted (N,)."""

    images: np.ndarray
    maps: np.ndarray
    target: np.ndarray
    predicted: np.ndarray


def gradcam(order: Order, modality: str, positions: Sequence[int]) -> Focus:
    """Return where the logit of the true class comes from, at positions of the test split, by a run's stored weights.

    ReLU(Σ_k a_k A_k) of the encoder's last maps A (K, h, w), a_k the mean of ∂y_c / ∂A_k over places; each divided by
    its largest. Source: Selvaraju et al., Grad-CAM, ICCV 2017, equations 1 and 2. Raises UserError for a run without
    weights, a modality that is no image read by a net with maps, another task than classification, and other rows.
    """
    import torch

    from sweeper.models.data.feed import Feed
    from sweeper.models.training.trained import trained

    dataset = dataset_of(order)
    if dataset.spec.task != "classification":
        raise UserError(
            f"Grad-CAM is for classification; dataset {dataset.spec.name!r} is {dataset.spec.task}"
        )
    images = [m for m, spec in dataset.spec.modalities.items() if spec.kind == "image"]
    choose("modality", modality, images, f"the images of {dataset.spec.name!r}")
    test = dataset.rows["test"]
    wrong = [position for position in positions if not 0 <= position < len(test)]
    if wrong:
        raise UserError(f"there is no test row {wrong[0]}; admissible: 0 to {len(test) - 1}")
    method, dataset = trained(order)
    blocks = _blocks(method, modality)
    batch = Feed(dataset, test[list(positions)]).batch(torch.arange(len(positions)))
    maps, fused = _maps(method, batch, blocks)
    shown = dataset.inputs[modality][test[list(positions)]]
    return Focus(shown, maps.numpy(), batch.target.numpy(), fused.argmax(1).numpy())


def _blocks(method: Method, modality: str) -> nn.ModuleDict:
    """Return the stages of the net that reads an image."""
    from sweeper.models.encoders.base import ImageEncoder, Projected

    encoder = method.net.encoders[modality]
    encoder = encoder.encoder if isinstance(encoder, Projected) else encoder
    if not isinstance(encoder, ImageEncoder):
        raise UserError(
            f"modality {modality!r} is read by a {type(encoder).__name__}, which has no maps of an image"
        )
    return encoder.blocks


def _maps(method: Method, batch: Batch, blocks: nn.ModuleDict) -> tuple[Tensor, Tensor]:
    """Return maps (B, h, w) and fused logits (B, C)."""
    import torch

    kept: list[Tensor] = []
    hook = list(blocks.values())[-1].register_forward_hook(lambda _, __, found: kept.append(found))
    try:
        with torch.enable_grad():
            fused = method(batch).fused
            score = fused.gather(1, batch.target.unsqueeze(1)).sum()
            (slopes,) = torch.autograd.grad(score, kept[:1], allow_unused=True)
    finally:
        hook.remove()
    if slopes is None:
        raise UserError("the fused output does not hang on this modality")
    found = (slopes.mean((2, 3), keepdim=True) * kept[0]).sum(1).relu().detach()
    return found / found.amax((1, 2), keepdim=True).clamp_min(1e-12), fused.detach()
