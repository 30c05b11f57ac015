import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration, register
from dipy_nn_reg.checks.arrays import as_array, check_real, check_where


@pytest.mark.parametrize(
    ("array", "message"),
    [
        (np.ma.masked_less([1, 2, 3], 2), "a without masked values.*1 of 3"),
        ([[1, 2], [3]], "a to be an array of real numbers"),
        (np.array([1j]), "real numbers in a. Received a.dtype=complex128"),
        (np.array(["2020-01-01"], "M8[D]"), "a.dtype=datetime64"),
        ([None, 1], "a.dtype=object"),
        ([10**400], "a.dtype=object"),
        ("3", "a.dtype=<U1"),
        (3.0, r"one value or more. Received a.shape=\(\)"),
        (np.zeros((3, 0)), r"a.shape=\(3, 0\)"),
    ],
)
def test_invalid_arrays_are_refused(array, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        check_real("a", array)


@pytest.mark.parametrize("dtype", [bool, np.uint64, np.float16, ">f8"])
def test_valid_arrays_are_returned_unchanged(dtype):
    array = np.ones((2, 3), dtype)
    assert check_real("a", array) is array
    unmasked = check_real("a", np.ma.array([1.5, 2]))
    npt.assert_array_equal(unmasked, [1.5, 2])


# Lists that are no arrays, wherever an array is expected.
RAGGED = [[1.0, 2.0], [3.0]]
IMAGE = np.random.default_rng(0).random((12, 13))
IMAGES = np.stack([IMAGE, IMAGE[::-1]])


@pytest.fixture(scope="module")
def model():
    return DeformableRegistration(input_shape=(12, 13), network="voxelmorph1", seed=0)


@pytest.mark.parametrize("name", ["moving", "static"])
@pytest.mark.parametrize(
    "method", ["predict", "predict_field", "evaluate", "predict_mapping"]
)
def test_ragged_images_are_refused(method, name, model):
    images = {"moving": IMAGE, "static": IMAGE}
    if method != "predict_mapping":
        images["moving"] = IMAGES
    with pytest.raises(ValueError, match=f"Expected {name}.*Received"):
        getattr(model, method)(**images | {name: RAGGED})


@pytest.mark.parametrize(
    "name",
    ["moving_labels", "static_labels", "moving_landmarks", "static_landmarks", "mask"],
)
def test_ragged_annotations_are_refused(name, model):
    kind = name.partition("_")[2]
    annotations = {name: RAGGED}
    if kind:
        partner = np.ones((2, 12, 13), int) if kind == "labels" else np.ones((2, 3, 2))
        annotations = {
            f"moving_{kind}": partner,
            f"static_{kind}": partner,
            name: RAGGED,
        }
    with pytest.raises(ValueError, match=f"Expected {name}.*Received"):
        model.fit(IMAGES, IMAGES, epochs=1, verbose=0, **annotations)
    if kind == "landmarks":
        return
    if kind:
        annotations = {n: RAGGED if n == name else a[0] for n, a in annotations.items()}
    with pytest.raises(ValueError, match=f"Expected {name}.*Received"):
        register(IMAGE, IMAGE[::-1], prealign=None, **annotations)


def test_slices_larger_than_memory_are_refused(model):
    vast = np.broadcast_to(np.float32(1), (2**24, 2**24, 1))
    affine = np.eye(4)
    with pytest.raises(ValueError, match="Expected images that fit into memory"):
        model.predict_mapping(
            vast, IMAGE[..., None], moving_affine=affine, static_affine=affine
        )


@pytest.mark.parametrize("where", [np.ones(3), np.ones(2, bool), None, [[True] * 3]])
def test_only_arrays_of_bool_of_a_shape_say_where(where):
    with pytest.raises(ValueError, match="Expected inside"):
        check_where("inside", where, (3,))
    assert check_where("inside", [True, False, True], (3,)).tolist() == [1, 0, 1]


@pytest.mark.parametrize("check", [as_array, check_real])
def test_masked_values_are_refused(check):
    """Nothing would leave them out."""
    masked = np.ma.masked_greater(np.arange(6.0), 4)
    with pytest.raises(ValueError, match="without masked values.* 1 of 6"):
        check("moving", masked)
    npt.assert_array_equal(check("moving", np.ma.asarray(np.arange(6.0))), range(6))
