import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.data.sections import make_section

SHAPE = (64, 80)


def test_two_stains_show_one_section():
    (one, tissue), (other, again) = (
        make_section(shape=SHAPE, stain=stain, seed=0) for stain in ("nuclear", "fibre")
    )
    npt.assert_array_equal(tissue, again)
    assert one.dtype == np.uint8
    means = {
        name: [image[tissue == label].mean() for label in (0, 1, 2)]
        for name, image in (("nuclear", one), ("fibre", other))
    }
    # White outside; white matter is the darkest by one stain, grey by the other.
    assert min(means["nuclear"][0], means["fibre"][0]) > 240
    assert means["nuclear"][1] < means["nuclear"][2] - 10
    assert means["fibre"][2] < means["fibre"][1] - 50


def test_a_displacement_says_where_pixels_are_read(smooth_field):
    field = smooth_field(SHAPE, sigma=8, largest=4)
    straight, tissue = make_section(shape=SHAPE, seed=0)
    bent, _ = make_section(shape=SHAPE, seed=0, displacement=field)
    places = np.moveaxis(np.stack(np.indices(SHAPE), -1) + field, -1, 0)
    expected = map_coordinates(
        straight[..., 1].astype(float), places, order=1, cval=250
    )
    assert (
        np.abs(bent[..., 1] - expected).mean() < 4
    )  # noise, and nuclei between pixels
    assert np.abs(bent[..., 1] - straight[..., 1].astype(float)).mean() > 6
    same, _ = make_section(shape=SHAPE, seed=0)
    npt.assert_array_equal(same, straight)
    assert tissue.max() == 2


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"shape": (64,)}, "shape of two axes"),
        ({"shape": (8, 80)}, "each axis of shape"),
        ({"stain": "h&e"}, "stain"),
        ({"seed": -1}, "seed"),
        ({"displacement": np.zeros((3, 3, 2))}, "displacement of shape"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=message):
        make_section(**options)
