"""Train and test our reconstructor with deepinv's own Trainer.

The reconstructor is a deepinv ``Reconstructor``: ``model(y, physics)``. Its backward pass solves
the adjoint equation, so deepinv's losses and optimisers need to know nothing about equilibria.

Run: python examples/deepinv_trainer.py
"""

from __future__ import annotations

import deepinv
import torch
from torch import Tensor
from torch.utils.data import DataLoader

from equipoise import EquilibriumReconstructor, Scaled, TiedConvPair, denoise, photographs
from equipoise.learn import psnr
from equipoise.problems import sample_patches


def main(epochs: int = 3, patches: int = 32, size: int = 48) -> tuple[float, float, float]:
    """Train a tied pair and its strength on patches of the embedded photographs.

    Args:
        epochs: passes through the patches.
        patches: number of training patches.
        size: side of a patch.

    Returns:
        PSNR of the degraded test patches, of the untrained and of the trained reconstructor.
    """
    torch.manual_seed(0)
    generator = torch.Generator().manual_seed(0)
    images = photographs()
    problem = denoise((1, size, size), sigma=0.1)

    def pairs(photos: list[Tensor], count: int) -> tuple[Tensor, Tensor]:
        truth = sample_patches(photos, count=count, size=size, generator=generator)
        return truth, problem.measure(truth, generator)

    training = [{"x": x, "y": y} for x, y in zip(*pairs(images.train, patches), strict=True)]
    truth, y = pairs(list(images.test.values()), 8)
    regularizer = Scaled(TiedConvPair(filters=8, kernel_size=5), strength=1e-3)
    model = EquilibriumReconstructor(regularizer)
    with torch.no_grad():
        before = float(psnr(model(y, problem.physics), truth).mean())

    trainer = deepinv.Trainer(
        model=model,
        physics=problem.physics,
        optimizer=torch.optim.Adam(model.parameters(), lr=0.1),
        train_dataloader=DataLoader(training, batch_size=8, shuffle=True),
        losses=deepinv.loss.SupLoss(),
        epochs=epochs,
        device="cpu",
        non_blocking_transfers=False,
        save_path=None,
        show_progress_bar=False,
        verbose=False,
    )
    trainer.train()
    with torch.no_grad():
        after = float(psnr(model(y, problem.physics), truth).mean())
    assert model.last_solution is not None
    print(model.last_solution.summary())
    degraded = float(psnr(y, truth).mean())
    print(f"PSNR: degraded {degraded:.2f}, untrained {before:.2f}, trained {after:.2f} dB")
    return degraded, before, after


if __name__ == "__main__":
    main()
