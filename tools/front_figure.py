"""Pictures of the front page: two brains, the warped one, and the deformed grid.

    python tools/front_figure.py --static 1036_t1.nii.gz --moving 1010_t1.nii.gz

The files are those of MALF at 1 mm.
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")

import matplotlib.pyplot as plt
import nibabel as nib
import numpy as np
from PIL import Image

from dipy_nn_reg import register

# Slice along the third axis, and the voxels left out at each side.
SLICE, MARGIN = 80, 4
# Distance of the lines of the grid, in voxels.
STEP = 5


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--static", required=True, help="NIfTI file of a brain")
    parser.add_argument("--moving", required=True, help="NIfTI file on the same grid")
    parser.add_argument("--folder", type=Path, default=Path("doc/images"))
    options = parser.parse_args()
    static, moving = nib.load(options.static), nib.load(options.moving)
    mapping, outcome = register(moving, static)
    print(outcome)
    images = {
        "static": static.get_fdata(),
        "moving": moving.get_fdata(),
        "warped": mapping.transform(moving.get_fdata()),
    }
    for name, image in images.items():
        draw(options.folder / f"front_{name}.png", image[..., SLICE])
    # Both axes of the slice run along those of the world, in voxels of 1 mm.
    field = mapping.backward[..., SLICE, :2]
    draw(options.folder / "front_grid.png", images["warped"][..., SLICE], field)


def draw(path, image, field=None):
    """Draw a slice, and what a field, if there is one, makes of straight lines."""
    width, height = (n - 2 * MARGIN for n in image.shape)
    figure = plt.figure(figsize=(width / 50, height / 50))
    axis = figure.add_axes((0, 0, 1, 1))
    axis.axis("off")
    brightness = 1 if field is None else 0.5
    axis.imshow(brightness * image.T, origin="lower", cmap="gray", vmax=image.max())
    if field is not None:
        x = np.indices(image.shape) + np.moveaxis(field, -1, 0)
        for lines in (x[:, ::STEP], np.swapaxes(x, 1, 2)[:, ::STEP]):
            axis.plot(lines[0].T, lines[1].T, color="#7fd0ff", linewidth=0.6)
    axis.set(
        xlim=(MARGIN, MARGIN + width),
        ylim=(MARGIN, MARGIN + height),
        autoscale_on=False,
    )
    figure.savefig(path, dpi=100)
    plt.close(figure)
    Image.open(path).convert("RGB").quantize(64, dither=0).save(path, optimize=True)


if __name__ == "__main__":
    main()
