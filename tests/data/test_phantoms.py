import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import binary_erosion

from dipy_nn_reg.data.phantoms import INTENSITIES, STRUCTURES, make_phantoms

SHAPES = pytest.mark.parametrize("shape", [(48, 40), (32, 28, 30)], ids=["2D", "3D"])


@SHAPES
def test_people_differ_and_have_all_structures(shape):
    images, labels = make_phantoms(3, shape=shape, seed=0)
    assert images.shape == labels.shape == (3, *shape)
    assert images.dtype == np.float32 and labels.dtype == np.int32
    for person in labels:
        npt.assert_array_equal(np.unique(person), range(len(STRUCTURES)))
    differ = np.mean(labels[0] != labels[1]), np.mean(labels[1] != labels[2])
    assert 0.03 < min(differ) and max(differ) < 0.3


@SHAPES
@pytest.mark.parametrize("contrast", ["t1", "t2"])
def test_labels_agree_with_intensities(shape, contrast):
    images, labels = make_phantoms(3, shape=shape, contrast=contrast, seed=1)
    for image, person in zip(images, labels):
        expected = INTENSITIES[contrast][person]
        # Not 1, since edge voxels of the image mix two structures.
        correlation = np.corrcoef(image.ravel(), expected.ravel())[0, 1]
        assert correlation > 0.93
        for axis in range(len(shape)):
            for step in (-1, 1):
                other = np.roll(expected, step, axis)
                shifted = np.corrcoef(image.ravel(), other.ravel())[0, 1]
                assert shifted < correlation
        assert image.min() == 0


@SHAPES
def test_anatomy_is_the_same_in_both_contrasts(shape):
    (t1, labels), (t2, others) = (
        make_phantoms(2, shape=shape, contrast=contrast, seed=2)
        for contrast in ("t1", "t2")
    )
    npt.assert_array_equal(labels, others)
    assert np.corrcoef(t1[labels > 1], t2[labels > 1])[0, 1] < -0.7


def test_noise_of_the_two_contrasts_is_independent():
    shape = (160, 160)  # large enough for white matter far from other structures
    (t1, labels), (t2, _) = (
        make_phantoms(1, shape=shape, contrast=contrast, seed=2)
        for contrast in ("t1", "t2")
    )
    deep = binary_erosion(labels[0] == 2, iterations=4)
    noise = t1[0][deep], t2[0][deep]
    assert deep.sum() > 1000
    npt.assert_allclose(np.std(noise, axis=1), 0.02, rtol=0.1)
    assert abs(np.corrcoef(noise)[0, 1]) < 0.1


@SHAPES
def test_left_and_right_are_the_halves_of_the_second_axis(shape):
    _, labels = make_phantoms(1, shape=shape, seed=3)
    for left, right in ((4, 5), (6, 7)):
        centers = [np.argwhere(labels[0] == x).mean(axis=0) for x in (left, right)]
        assert STRUCTURES[left] == STRUCTURES[right].replace("right", "left")
        assert centers[0][1] < shape[1] / 2 < centers[1][1]


def test_the_seed_determines_the_images():
    first, same, other = (make_phantoms(2, seed=seed)[0] for seed in (4, 4, 5))
    npt.assert_array_equal(first, same)
    assert not np.allclose(first, other)
    assert make_phantoms(1)[0].shape == (1, 64, 64)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"n": 0}, "n to be an integer >= 1 .*Received 0"),
        ({"shape": (64,)}, r"shape of two or three axes. Received \(64,\)"),
        ({"shape": 64}, "shape of two or three axes. Received 64"),
        ({"shape": (64, 23)}, "each axis of shape.*>= 24 .*Received 23"),
        ({"contrast": "pd"}, r"contrast.*\['t1', 't2'\]. Received 'pd'"),
        ({"seed": -1}, "seed.*Received -1"),
    ],
)
def test_invalid_options_are_refused(options, message):
    with pytest.raises(ValueError, match=f"Expected {message}"):
        make_phantoms(**{"n": 1, **options})


def test_sizes_may_be_numpy_integers():
    expected, _ = make_phantoms(1, shape=(24, 26), seed=0)
    shape = np.array([24, 26])
    for sizes in (list(shape), tuple(shape.astype(np.uint8))):
        images, _ = make_phantoms(np.int8(1), shape=sizes, seed=np.int64(0))
        npt.assert_array_equal(images, expected)


@pytest.mark.parametrize("options", [{"shape": (2**20, 2**20)}, {"n": 10**9}])
def test_too_large_a_request_for_memory_is_refused(options):
    with pytest.raises(MemoryError, match="needs about .* GiB of memory"):
        make_phantoms(**{"n": 1, "shape": (24, 24), **options})


@pytest.mark.parametrize("options", [{"n": 10**400}, {"shape": (10**400, 24)}])
def test_astronomical_numbers_are_refused(options):
    with pytest.raises(ValueError, match="Expected .* Received"):
        make_phantoms(**{"n": 1, "shape": (24, 24), **options})
