"""
================================
Register two stains of a section
================================

Neighbouring sections of a tissue are often stained differently: one shows cell bodies,
the other fibres. We register two such pictures by self-similarity. They are synthetic,
so that we know the field between them, and can state the error in pixels.

On two cores this example takes less than a minute.
"""

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg import register
from dipy_nn_reg.data.sections import make_section
from dipy_nn_reg.transform import warp
from dipy_nn_reg.transform.random import random_displacements

###############################################################################
# The moving picture has a stain of fibres, which is dark in white matter. The static
# one has a stain of cell bodies, and shows the same section after it was bent by a
# known field: pixel ``x`` of the static picture shows what is at ``x + truth`` in the
# moving one. Columns are the first axis, as in pictures that the commands read.

shape = (256, 320)
truth = random_displacements((1, *shape), np.random.default_rng(3))[0]
static, tissue = make_section(shape=shape, seed=1, displacement=truth)
moving, _ = make_section(shape=shape, seed=1, stain="fibre")

###############################################################################
# A pair is registered by its luminance, as the commands do it. "mind" compares how
# similar a pixel is to its neighbours :footcite:p:`Heinrich2013`, and "mi" the
# statistics of both pictures; "lncc", the default for equal contrasts, takes one
# contrast to be a factor of the other in each window.

luminance = np.array([0.299, 0.587, 0.114], np.float32)  # of red, green and blue
images = [picture @ luminance for picture in (moving, static)]
inside = tissue > 0


def error_of(displacement):
    """Return the distance from the truth in pixels, at each pixel of the section."""
    return np.linalg.norm(displacement - truth, axis=-1)[inside]


print(f"before  error {error_of(0).mean():.2f} pixels")
fields = {}
for loss in ("lncc", "mi", "mind"):
    mapping, outcome = register(*images, loss=loss)
    pixels = np.stack(np.indices(shape), axis=-1).reshape(-1, 2).astype(float)
    moved = mapping.transform_points(pixels) - pixels
    fields[loss] = moved.reshape(*shape, 2).astype(np.float32)
    error = error_of(fields[loss])
    print(
        f"{loss:6}  error {error.mean():.2f} pixels, 95 % below "
        f"{np.percentile(error, 95):.1f} ({outcome.used})"
    )

###############################################################################
# Both losses for different contrasts are better than "lncc". Here "mi" is the best one:
# a stain has few intensities, while "mind" also looks at cell bodies, which only one of
# the pictures shows.
#
# The field of "mind" warps all colours. White is the background of both pictures.

colours = np.moveaxis(moving, -1, 0).astype(np.float32)
field = np.broadcast_to(fields["mind"], (3, *shape, 2))
warped = np.moveaxis(warp(colours, field, fill=250.0), 0, -1)
warped = np.rint(np.clip(warped, 0, 255)).astype(np.uint8)

figure, axes = plt.subplots(1, 4, figsize=(10, 3.4), layout="constrained")
for ax, title, picture in (
    (axes[0], "static: cell bodies", static),
    (axes[1], "moving: fibres", moving),
    (axes[2], "warped by mind", warped),
):
    ax.imshow(picture.swapaxes(0, 1))
    ax.contour(tissue.T, levels=[0.5, 1.5], colors="tab:orange", linewidths=0.8)
    ax.set_title(title)
distance = np.full(shape, np.nan)
distance[inside] = error_of(fields["mind"])
shown = axes[3].imshow(distance.T, cmap="magma", vmin=0, vmax=8)
axes[3].set_title("error of mind")
figure.colorbar(shown, ax=axes[3], label="pixels")
for ax in axes:
    ax.set(xticks=[], yticks=[])
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# The outlines of the static section and of its white matter, on each picture; and how
# far the field is from the truth.
#
# From files, with the pictures as they come from the scanner::
#
#    dipy_nn_reg_register cells.png fibres.tif --loss mind --out_warped warped.png
#
# References
# ----------
#
# .. footbibliography::
