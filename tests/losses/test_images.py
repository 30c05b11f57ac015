from functools import partial

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import gaussian_filter, uniform_filter

from dipy_nn_reg.losses import lncc, mi, mind, mse, ncc, robust_lncc
from dipy_nn_reg.losses.choices import LOSSES

SHAPES = [(2, 7, 6, 1), (2, 5, 9, 3), (2, 5, 4, 6, 2)]
SMALL = [(2, 5, 4, 2), (2, 4, 3, 5, 1)]
# Options of losses whose defaults do not suit small images.
OPTIONS = {"lncc": {"window": 3}, "robust_lncc": {"window": 3}}


def mse_reference(static, warped, weights):
    return np.average(np.mean((static - warped) ** 2, axis=-1), weights=weights)


def ncc_reference(static, warped, weights):
    weights = np.repeat(weights[..., None], static.shape[-1], axis=-1).ravel()
    (ss, sw), (_, ww) = np.cov(static.ravel(), warped.ravel(), aweights=weights)
    return 1 - sw / np.sqrt(ss * ww)


def lncc_reference(static, warped, weights, *, window=9):
    squared, _ = windows_reference(static, warped, weights, window)
    return 1 - np.average(squared.mean(axis=-1), weights=weights)


def windows_reference(static, warped, weights, window):
    """Return the squared correlation of each window, and the product of variances."""
    half = window // 2
    padding = [*[(half, half)] * weights.ndim, (0, 0)]
    padded = [np.pad(i * weights[..., None], padding) for i in (static, warped)]
    squared, contrast = np.zeros((2, *static.shape))
    for *voxel, channel in np.ndindex(*static.shape):
        box = (*(slice(i, i + window) for i in voxel), channel)
        a, b = (image[box] - image[box].mean() for image in padded)
        product_of_sums = np.sum(a**2) * np.sum(b**2)
        squared[*voxel, channel] = np.sum(a * b) ** 2 / (product_of_sums + 1e-5)
        contrast[*voxel, channel] = a.var() * b.var()
    return squared, contrast


def robust_lncc_reference(static, warped, weights, *, window=5, trim=0.2):
    """Leave out the lowest windows by sorting them; equal ones are kept together."""
    squared, contrast = windows_reference(static, warped, weights, window)
    weights = np.broadcast_to(weights[..., None], squared.shape)
    counted = weights * (contrast > 0.02**4)
    order = np.argsort(squared, axis=None)
    first = np.argmax(np.cumsum(counted.ravel()[order]) > trim * counted.sum())
    kept = np.where(squared < squared.flat[order[first]], 0, squared)
    return 1 - np.average(kept, weights=weights)


def mutual_information(joint):
    independent = np.outer(joint.sum(axis=1), joint.sum(axis=0))
    occurs = joint > 0
    return np.sum(joint[occurs] * np.log(joint[occurs] / independent[occurs]))


def mi_reference(static, warped, weights, *, bins=16):
    centers = np.arange(bins) / (bins - 1)
    sigma = 0.5 / (bins - 1)

    def fractions(value):
        densities = np.exp(-((value - centers) ** 2) / (2 * sigma**2))
        return densities / densities.sum()

    joint = np.zeros((static.shape[-1], bins, bins))
    for *voxel, channel in np.ndindex(*static.shape):
        a, b = (fractions(image[*voxel, channel]) for image in (static, warped))
        joint[channel] += weights[*voxel] / weights.sum() * np.outer(a, b)
    return -np.mean([mutual_information(j) for j in joint])


REFERENCES = {
    "lncc": lncc_reference,
    "mi": mi_reference,
    "mse": mse_reference,
    "ncc": ncc_reference,
    "robust_lncc": robust_lncc_reference,
}


@pytest.fixture
def loss_and_reference(mind_reference):
    """Return a function that returns a loss and its reference, both with options."""
    references = REFERENCES | {"mind": mind_reference}

    def choose(name, **options):
        options = OPTIONS.get(name, {}) | options
        functions = (LOSSES[name].function, references[name])
        return (partial(function, **options) for function in functions)

    return choose


def masked(function, static, warped, mask=None):
    if mask is None:
        return function(static, warped)
    return function(static, warped, mask=ops.convert_to_tensor(mask, "float32"))


def loss_of(function, static, warped, mask=None):
    static, warped = (ops.convert_to_tensor(i, "float32") for i in (static, warped))
    return ops.convert_to_numpy(masked(function, static, warped, mask))


def expected_of(reference, static, warped, mask=None):
    """Evaluate the reference for one image after the other, in float64."""
    mask = np.ones((*static.shape[:-1], 1)) if mask is None else mask
    images = (np.asarray(array, np.float64) for array in (static, warped, mask[..., 0]))
    return [reference(*items) for items in zip(*images)]


def first_with_each_backend(shapes):
    """Mark the first of several parameters: JAX compiles each operation for each."""
    return [pytest.param(shapes[0], marks=pytest.mark.backends), *shapes[1:]]


@pytest.mark.parametrize("kind", [None, "voxels", "fractions"])
@pytest.mark.parametrize("shape", first_with_each_backend(SHAPES))
@pytest.mark.parametrize("name", LOSSES)
def test_agrees_with_a_loop_in_numpy(
    name, shape, kind, make_images, make_mask, loss_and_reference
):
    static, warped = make_images(shape)
    mask = make_mask(shape, kind)
    function, reference = loss_and_reference(name)
    npt.assert_allclose(
        loss_of(function, static, warped, mask),
        expected_of(reference, static, warped, mask),
        rtol=1e-4,
    )


@pytest.mark.parametrize("masked", [False, True])
@pytest.mark.parametrize("window", [3, 5, 9])
@pytest.mark.parametrize("shape", [(2, 11, 9, 2), (2, 9, 10, 9, 2)])
def test_lncc_windows(
    shape, window, masked, make_images, make_mask, loss_and_reference
):
    static, warped = make_images(shape)
    mask = make_mask(shape, "voxels" if masked else None)
    function, reference = loss_and_reference("lncc", window=window)
    actual = loss_of(function, static, warped, mask)
    expected = expected_of(reference, static, warped, mask)
    npt.assert_allclose(actual, expected, rtol=1e-4)
    if window == 9:
        npt.assert_array_equal(loss_of(lncc, static, warped, mask), actual)


@pytest.mark.parametrize("trim", [0, 0.1, 0.5, 0.9])
def test_shares_of_windows_are_left_out(trim, make_images, loss_and_reference):
    static, warped = make_images((2, 12, 13, 1))
    function, reference = loss_and_reference("robust_lncc", trim=trim)
    actual = loss_of(function, static, warped)
    npt.assert_allclose(actual, expected_of(reference, static, warped), rtol=1e-4)
    if trim == 0:
        plain = loss_of(partial(lncc, window=3), static, warped)
        npt.assert_array_equal(actual, plain)


def test_windows_of_a_lesion_have_no_gradient(rng, gradient):
    """One tenth of the image holds other noise; a fifth of the windows is left out."""
    image, other = rng.random((2, 1, 40, 40, 1), dtype=np.float32)
    warped = image + 0.05 * rng.random(image.shape, dtype=np.float32)
    warped[:, 10:22, 10:22] = other[:, 10:22, 10:22]
    inside = (0, slice(12, 20), slice(12, 20))

    def largest(loss):
        slopes = gradient(lambda s, w: ops.sum(loss(s, w)), image, warped)[1]
        return np.abs(slopes[inside]).max()

    assert largest(partial(lncc, window=5)) > 1e-4
    assert largest(robust_lncc) == 0


@pytest.mark.parametrize("bins", [2, 7, 32])
def test_mi_bins(bins, make_images, loss_and_reference):
    static, warped = make_images((2, 12, 13, 1))
    function, reference = loss_and_reference("mi", bins=bins)
    npt.assert_allclose(
        loss_of(function, static, warped),
        expected_of(reference, static, warped),
        rtol=1e-4,
    )


@pytest.mark.parametrize("name", LOSSES)
def test_each_image_of_a_batch_has_its_own_loss(
    name, make_images, make_mask, loss_and_reference
):
    shape = (3, 8, 7, 2)
    static, warped = make_images(shape)
    mask = make_mask(shape, "voxels")
    function, _ = loss_and_reference(name)
    actual = loss_of(function, static, warped, mask)
    one_by_one = [
        loss_of(function, static[i : i + 1], warped[i : i + 1], mask[i : i + 1])[0]
        for i in range(3)
    ]
    assert len(set(one_by_one)) == 3
    npt.assert_allclose(actual, one_by_one, rtol=1e-5)


@pytest.mark.parametrize("name", LOSSES)
def test_a_mask_with_every_voxel_changes_nothing(name, make_images, loss_and_reference):
    static, warped = make_images(SHAPES[1])
    function, _ = loss_and_reference(name)
    npt.assert_allclose(
        loss_of(function, static, warped, np.ones((2, 5, 9, 1))),
        loss_of(function, static, warped),
        rtol=1e-5,
    )


@pytest.mark.parametrize("kind", [None, "voxels"])
@pytest.mark.parametrize("shape", first_with_each_backend(SMALL))
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_agree_with_finite_differences(
    name, shape, kind, make_images, make_mask, rng, gradient, loss_and_reference
):
    images = make_images(shape)
    mask = make_mask(shape, kind)
    function, reference = loss_and_reference(name)
    actual = gradient(lambda s, w: ops.sum(masked(function, s, w, mask)), *images)
    for which in (0, 1):
        indices = rng.choice(images[which].size, 15, replace=False)
        expected = []
        for index in indices:
            losses = []
            for step in (1e-5, -1e-5):
                changed = [image.astype(np.float64) for image in images]
                changed[which].flat[index] += step
                losses.append(np.sum(expected_of(reference, *changed, mask)))
            expected.append((losses[0] - losses[1]) / 2e-5)
        largest = np.abs(expected).max()
        assert largest > 1e-3
        npt.assert_allclose(actual[which].flat[indices], expected, atol=1e-3 * largest)


@pytest.mark.parametrize("kind", [None, "empty"])
@pytest.mark.parametrize("shape", SMALL)
@pytest.mark.parametrize("name", LOSSES)
def test_gradients_of_constant_images_are_finite(
    name, shape, kind, rng, gradient, loss_and_reference
):
    textured = rng.random(shape, dtype=np.float32)
    constant = np.zeros(shape, np.float32)
    constant[1] = 0.3
    function, _ = loss_and_reference(name)
    # A warped mask can be 0 everywhere.
    mask = np.zeros((*shape[:-1], 1), np.float32) if kind == "empty" else None
    for pair in ((textured, constant), (constant, textured), (constant, constant)):
        assert np.all(np.isfinite(loss_of(function, *pair, mask)))
        actual = gradient(lambda s, w: ops.sum(masked(function, s, w, mask)), *pair)
        assert np.all(np.isfinite(actual))


def test_ncc_limits(rng):
    image = rng.random((1, 8, 8, 1), dtype=np.float32)
    npt.assert_allclose(loss_of(ncc, image, 0.5 * image + 0.2), 0, atol=1e-5)
    npt.assert_allclose(loss_of(ncc, image, 0.001 * image), 0, atol=2e-3)
    npt.assert_allclose(loss_of(ncc, image, 1 - image), 2, atol=1e-5)
    npt.assert_allclose(loss_of(ncc, image, np.ones_like(image)), 1, atol=1e-5)


@pytest.mark.parametrize("shape", [(1, 14, 13, 1), (1, 10, 9, 11, 1)])
def test_lncc_limits(shape, rng):
    image = rng.random(shape, dtype=np.float32)
    npt.assert_allclose(loss_of(lncc, image, image), 0, atol=1e-4)
    npt.assert_allclose(loss_of(lncc, image, 0.5 * image), 0, atol=1e-4)
    # The correlation is squared, so the sign does not matter.
    npt.assert_allclose(loss_of(lncc, image, -image), 0, atol=1e-4)
    npt.assert_allclose(loss_of(lncc, image, np.zeros_like(image)), 1, atol=1e-5)


def test_mi_of_values_on_the_centers_of_far_bins_is_that_of_their_histogram(rng):
    # Five bins apart are ten standard deviations: the windows do not overlap.
    static, other = rng.choice(
        [0, 5, 10, 15], (2, 1, 40, 41, 1), p=[0.4, 0.3, 0.2, 0.1]
    )
    warped = np.where(rng.random(static.shape) < 0.6, (static + 5) % 20, other)
    edges = np.arange(17) - 0.5
    counts = np.histogram2d(static.ravel(), warped.ravel(), bins=[edges, edges])[0]
    expected = -mutual_information(counts / counts.sum())
    npt.assert_allclose(loss_of(mi, static / 15, warped / 15), expected, atol=1e-4)
    # The mutual information of an image and itself is its entropy.
    p = np.unique(static, return_counts=True)[1] / static.size
    entropy = -np.sum(p * np.log(p))
    npt.assert_allclose(loss_of(mi, static / 15, static / 15), -entropy, atol=1e-4)


def test_mi_of_values_on_all_centers_is_at_most_that_of_their_histogram(rng):
    # Distributing voxels over bins loses information: with bins of two standard
    # deviations, more than half of the entropy is left.
    image = rng.integers(0, 16, (1, 40, 41, 1))
    p = np.bincount(image.ravel()) / image.size
    entropy = -np.sum(p * np.log(p))
    actual = loss_of(mi, image / 15, image / 15)
    assert 0.5 * entropy < -actual < entropy
    npt.assert_allclose(
        actual, expected_of(mi_reference, image / 15, image / 15), rtol=1e-4
    )


def test_mi_of_independent_images_is_zero(rng):
    rows, columns = np.indices((30, 31)) / 30
    npt.assert_allclose(
        loss_of(mi, rows[None, ..., None], columns[None, ..., None]), 0, atol=1e-4
    )
    # In a finite sample of n voxels it is (bins - 1)^2 / (2 n) at most, on average.
    static, warped = rng.random((2, 1, 150, 151, 1))
    npt.assert_allclose(loss_of(mi, static, warped), 0, atol=225 / (2 * 150 * 151))


@pytest.mark.parametrize("function", [mi, mind])
@pytest.mark.parametrize("shape", SHAPES)
def test_inverted_contrast_changes_nothing(function, shape, make_images):
    static, warped = make_images(shape)
    actual = loss_of(function, static, 1 - warped)
    npt.assert_allclose(actual, loss_of(function, static, warped), rtol=1e-4)
    assert np.all(np.abs(actual) > 1e-3)


@pytest.mark.parametrize("function", [mse, ncc])
def test_channels_count_together(function, rng):
    static, warped = rng.random((2, 2, 5, 6, 3), dtype=np.float32)
    spread = [image.reshape(2, 5, 18, 1) for image in (static, warped)]
    npt.assert_allclose(
        loss_of(function, static, warped), loss_of(function, *spread), rtol=1e-5
    )


@pytest.mark.parametrize("name", ["lncc", "mi", "mind"])
def test_channels_count_one_by_one(name, make_images, loss_and_reference):
    static, warped = make_images(SHAPES[1])
    function, _ = loss_and_reference(name)
    one_by_one = [
        loss_of(function, static[..., c : c + 1], warped[..., c : c + 1])
        for c in range(3)
    ]
    npt.assert_allclose(
        loss_of(function, static, warped), np.mean(one_by_one, axis=0), rtol=1e-5
    )


@pytest.mark.parametrize(
    ("function", "options", "message"),
    [
        (lncc, {"window": 4}, "window to be odd.*Received window=4"),
        (lncc, {"window": 11}, "no larger than.*longest axis has 8.*window=11"),
        (lncc, {}, "no larger than.*longest axis has .*window=9"),
        (lncc, {"window": 1}, "window to be an integer >= 3.*Received 1"),
        (lncc, {"window": 5.0}, "window to be an integer >= 3.*Received 5.0"),
        (robust_lncc, {"trim": 1}, "trim to be less than 1. Received trim=1"),
        (robust_lncc, {"trim": -0.1}, "trim to be .*Received.*-0.1"),
        (mi, {"bins": 1}, "bins to be an integer >= 2.*Received 1"),
    ],
)
def test_invalid_options_are_refused(function, options, message):
    image = ops.ones((1, 8, 6, 1))
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        function(image, image, **options)


@pytest.mark.parametrize("masked", [False, True])
def test_a_floor_is_added_to_the_variances(masked, rng):
    """Expected: correlations by SciPy, of windows of zeros beyond the border."""
    shape = (14, 15, 13)
    static, warped = (gaussian_filter(rng.random(shape), 1) for _ in range(2))
    mask = (rng.random(shape) > 0.3).astype(float) if masked else np.ones(shape)

    def mean(image):
        return uniform_filter(image * mask, 5, mode="constant")

    a, b = mean(static), mean(warped)
    variances = mean(mask * static**2) - a**2, mean(mask * warped**2) - b**2
    raised = [v + 0.05 * np.average(v, weights=mask) for v in variances]
    covariance = mean(mask * static * warped) - a * b
    expected = 1 - np.average(covariance**2 / np.prod(raised, axis=0), weights=mask)
    tensors = [
        ops.convert_to_tensor(x[None, ..., None].astype("f4"))
        for x in (static, warped, mask)
    ]
    options = {"mask": tensors[2]} if masked else {}
    found = float(lncc(*tensors[:2], window=5, floor=0.05, **options)[0])
    assert found == pytest.approx(expected, abs=2e-5)
    with pytest.raises(ValueError, match="floor"):
        lncc(*tensors[:2], window=5, floor=-0.1)


@pytest.mark.parametrize("shape", [(12, 11), (9, 8, 10)])
def test_a_batch_of_one_is_repeated_by_every_loss(shape, rng):
    one = ops.convert_to_tensor(rng.random((1, *shape, 2), dtype=np.float32))
    two = ops.convert_to_tensor(rng.random((2, *shape, 2), dtype=np.float32))
    mask = ops.convert_to_tensor(rng.random((1, *shape, 1), dtype=np.float32) + 0.1)
    twice = ops.concatenate([one, one])
    for name, loss in LOSSES.items():
        for pair, expected in (((one, two), (twice, two)), ((two, one), (two, twice))):
            actual = loss.function(*pair, mask=mask)
            npt.assert_allclose(
                *(
                    ops.convert_to_numpy(v)
                    for v in (
                        actual,
                        loss.function(*expected, mask=ops.concatenate([mask, mask])),
                    )
                ),
                rtol=1e-5,
                err_msg=name,
            )


def test_without_a_trim_all_windows_count(rng):
    """Also those of air, which have no contrast."""
    images = 0.1 + 0.008 * rng.normal(size=(2, 1, 32, 30, 1)).astype(np.float32)
    images[:, :, 8:20, 8:20] += gaussian_filter(rng.random((12, 12)), 1)[..., None]
    pair = [ops.convert_to_tensor(image) for image in images]
    expected = ops.convert_to_numpy(lncc(*pair, window=5))
    actual = ops.convert_to_numpy(robust_lncc(*pair, window=5, trim=0))
    npt.assert_allclose(actual, expected, rtol=1e-6)
