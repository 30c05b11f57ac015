r"""Compare our local correlation, ``lncc``, and its gradient with those of VoxelMorph.

VoxelMorph on PyTorch needs a separate environment, here with Python 3.11:

    python3 -m venv ../venvpeers
    ../venvpeers/bin/pip install torch==2.13.0 keras==3.15.1
    ../venvpeers/bin/pip install voxelmorph==0.3.4 neurite==0.3.4
    KERAS_BACKEND=torch PYTHONPATH=. ../venvpeers/bin/python tools/check_lncc.py

VoxelMorph 0.3.4 leaves this loss to neurite, a package by the same authors.

Each row is of two pairs of random images, textured throughout or with a background of
zeros. It holds the largest difference of the losses, and the largest difference of
their gradients in the warped image divided by the largest gradient. Both are rounding
errors, and were below 1e-4; if one is above 1e-3, the script ends with status 1.
"""

from itertools import product
import sys

from neurite.nn.modules import NCC
import numpy as np
from scipy.ndimage import gaussian_filter
import torch

from dipy_nn_reg.losses.images import lncc

SHAPES = [(33, 47), (17, 21, 19)]
WINDOWS = [5, 9]
BACKGROUNDS = [False, True]
PAIRS = 2
TOLERANCE = 1e-3


def main():
    rng = np.random.default_rng(0)
    print("images    window  background  loss            loss diff.  gradient diff.")
    largest = 0
    for shape, window, background in product(SHAPES, WINDOWS, BACKGROUNDS):
        static, warped = make_images(shape, background, rng)
        losses, *differences = compare(static, warped, window)
        # Unlike max(), this keeps NaN.
        largest = np.max([largest, *differences])
        print(
            f"{'x'.join(map(str, shape)):<10}{window:<8}{str(background):<12}"
            f"{' '.join(f'{loss:.5f}' for loss in losses):<16}"
            "{:<12.1e}{:.1e}".format(*differences)
        )
    agree = largest <= TOLERANCE
    print(f"Largest difference {largest:.1e}: {'agree' if agree else 'DO NOT AGREE'}")
    sys.exit(0 if agree else 1)


def make_images(shape, background, rng):
    """Return static and warped images that are similar, each (pairs, *shape, 1)."""
    smooth = rng.normal(size=(3, PAIRS, *shape))
    smooth = gaussian_filter(smooth, (0, 0, *[3] * len(shape)))
    smooth /= smooth.std()
    images = smooth[0] + 0.7 * smooth[1:]
    images = images + rng.normal(scale=0.3, size=images.shape)
    images -= images.min()
    images /= images.max()
    if background:
        # A ball in the middle, larger in the warped image.
        axes = np.meshgrid(*[np.linspace(-1, 1, size) for size in shape], indexing="ij")
        radius = np.sqrt(sum(np.square(axes)))
        images *= radius < np.reshape([0.6, 0.7], (2, 1, *[1] * len(shape)))
    return torch.tensor(images[..., None], dtype=torch.float32)


def compare(static, warped, window):
    """Return our losses, the largest difference, and that of the gradients."""
    ours, our_gradient = _with_gradient(
        lambda image: lncc(static, image, window=window), warped
    )
    correlation = NCC(window_size=window, reduction=None)
    channels_first = static.movedim(-1, 1)
    theirs, their_gradient = _with_gradient(
        lambda image: 1 - correlation(channels_first, image.movedim(-1, 1))[:, 0],
        warped,
    )
    difference = (our_gradient - their_gradient).abs().max()
    return (
        ours.tolist(),
        (ours - theirs).abs().max().item(),
        (difference / their_gradient.abs().max()).item(),
    )


def _with_gradient(loss, warped):
    """Return the loss of each pair, and the gradient of their sum in the image."""
    warped = warped.clone().requires_grad_()
    losses = loss(warped)
    (gradient,) = torch.autograd.grad(losses.sum(), warped)
    return losses.detach(), gradient


if __name__ == "__main__":
    main()
