"""Small pictures show the middle slices of both images."""

from types import SimpleNamespace

import numpy as np
from PIL import Image
import pytest

from dipy_nn_reg.quality.overviews import picture_of, write_overview


@pytest.mark.parametrize(
    ("shape", "affine", "planes"),
    [
        ((12, 14, 10), np.diag([2.0, 2, 2, 1]), 3),
        ((12, 14, 1), np.eye(4), 1),
        ((12, 14), np.eye(3), 1),
    ],
)
def test_the_static_image_is_above_the_warped_one(shape, affine, planes, rng, tmp_path):
    static, warped = rng.random(shape), np.zeros(shape)
    pair = SimpleNamespace(static=static, warped=warped, affine=affine)
    write_overview(tmp_path / "a.png", pair)
    pixels = np.asarray(Image.open(tmp_path / "a.png"))
    height = (len(pixels) - 4) // 2
    assert height == 96 and pixels[:height].std() > 10
    lower = pixels[-height:]
    # Black slices with white gaps between them.
    assert set(np.unique(lower)) <= {0, 255}
    assert (lower[0] == 255).sum() == 4 * (planes - 1)


def test_voxels_are_as_long_as_in_the_world(tmp_path):
    pair = SimpleNamespace(
        static=np.ones((10, 10, 10)), warped=np.ones((10, 10, 10)), affine=None
    )
    widths = []
    for size in (1, 2):
        pair.affine = np.diag([1.0, 1, size, 1])
        write_overview(tmp_path / "a.png", pair)
        with Image.open(tmp_path / "a.png") as picture:
            widths.append(picture.width)
    assert widths == [3 * 96 + 8, 96 + 2 * 48 + 8]


def test_a_picture_of_one_image_is_in_the_page():
    image = SimpleNamespace(data=np.eye(12).reshape(12, 12, 1), affine=np.eye(4))
    assert picture_of(image).startswith("data:image/png;base64,")
