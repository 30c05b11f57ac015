import numpy as np
import numpy.testing as npt
import pytest
from scipy.interpolate import RBFInterpolator

from dipy_nn_reg.mapping import thin_plate
from dipy_nn_reg.mapping.thin_plate import ThinPlateSpline


@pytest.fixture
def landmarks(rng):
    def make(ndim, n=15):
        static = rng.uniform(0, 20, (n, ndim))
        return static + rng.normal(0, 1, (n, ndim)), static

    return make


@pytest.mark.parametrize("smoothing", [0, 0.5, 20])
@pytest.mark.parametrize("ndim", [2, 3])
def test_agrees_with_scipy(ndim, smoothing, landmarks, rng):
    moving, static = landmarks(ndim)
    points = rng.uniform(-5, 25, (200, ndim))
    found = ThinPlateSpline(smoothing=smoothing).fit(moving, static).evaluate(points)
    # SciPy's kernel is half of Bookstein's in 2D, and its 3D one is called linear.
    kernel, factor = {2: ("thin_plate_spline", 0.5), 3: ("linear", 1)}[ndim]
    oracle = RBFInterpolator(
        static, moving, kernel=kernel, smoothing=factor * smoothing, degree=1
    )
    npt.assert_allclose(found, oracle(points), atol=1e-8)


@pytest.mark.parametrize("ndim", [2, 3])
def test_meets_the_landmarks_and_keeps_affine_maps(ndim, landmarks, rng):
    moving, static = landmarks(ndim)
    spline = ThinPlateSpline().fit(moving, static)
    npt.assert_allclose(spline.evaluate(static), moving, atol=1e-9)
    matrix, offset = rng.normal(size=(ndim, ndim)), rng.normal(size=ndim)
    spline.fit(static @ matrix.T + offset, static)
    npt.assert_allclose(spline.weights, 0, atol=1e-9)
    npt.assert_allclose(spline.affine, np.vstack([offset, matrix.T]), atol=1e-8)


@pytest.mark.parametrize("shape", [(9, 12), (6, 7, 8)])
def test_displacement_of_a_grid(shape, landmarks, monkeypatch):
    spline = ThinPlateSpline().fit(*landmarks(len(shape)))
    field = spline.displacement(shape)
    assert field.shape == (*shape, len(shape))
    assert field.dtype == np.float32
    index = tuple(n // 2 for n in shape)
    npt.assert_allclose(field[index] + index, spline.evaluate(index), rtol=1e-5)
    monkeypatch.setattr(thin_plate, "POINTS_PER_CHUNK", 7)
    npt.assert_array_equal(spline.displacement(shape), field)


@pytest.mark.parametrize(
    ("moving", "static", "message"),
    [
        (np.ones((4, 2)), np.ones((5, 2)), r"\(n, 2\) or \(n, 3\).*\(4, 2\).*\(5, 2\)"),
        (np.ones((4, 4)), np.ones((4, 4)), "pairs of landmarks"),
        (np.ones(4), np.ones(4), "pairs of landmarks"),
        (np.full((4, 2), np.nan), np.eye(4)[:, :2], "finite .*landmarks"),
        (np.eye(2), np.eye(2), "at least 3 static.*Received 2 that span 1"),
        (np.ones((5, 2)), np.outer(np.arange(5), [1, 2]), "not all on one line"),
        (
            np.ones((5, 2)),
            [(0, 0), (0, 0), (1, 0), (0, 1), (1, 1)],
            "differ from one another",
        ),
    ],
)
def test_landmarks_that_determine_no_map(moving, static, message):
    with pytest.raises(ValueError, match=f"Expected .*{message}"):
        ThinPlateSpline().fit(moving, static)


def test_bad_smoothing():
    with pytest.raises(ValueError, match="smoothing.*Received -1"):
        ThinPlateSpline(smoothing=-1)


def test_points_that_do_not_fit():
    with pytest.raises(ValueError, match="Expected landmarks, by fit"):
        ThinPlateSpline().evaluate([(1, 2)])
    spline = ThinPlateSpline().fit(np.eye(3)[:, :2], np.eye(3)[:, :2])
    with pytest.raises(ValueError, match=r"shape \(..., 2\).*\(1, 3\)"):
        spline.evaluate([(1, 2, 3)])
    with pytest.raises(ValueError, match=r"shape of 2\. .*\(4, 4, 4\)"):
        spline.displacement((4, 4, 4))


LANDMARKS = np.array([(0.0, 0.0), (0.0, 9.0), (9.0, 0.0), (9.0, 9.0)])
NO_ARRAYS = [
    "text",
    {"a": 1},
    len,
    np.full((4, 2), "x"),
    np.full((4, 2), 1j),
    np.zeros((4, 2), "M8[s]"),
    np.zeros((0, 2)),
    [[1, 2], [3]],
    5,
]


@pytest.mark.parametrize("value", NO_ARRAYS, ids=str)
def test_what_are_no_points_is_refused(value):
    spline = ThinPlateSpline().fit(LANDMARKS + 1, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .* Received"):
        spline.evaluate(value)
    with pytest.raises(ValueError, match="Expected .* Received"):
        ThinPlateSpline().fit(value, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .* Received"):
        thin_plate.thin_plate_influence(LANDMARKS, value)
    with pytest.raises(ValueError, match="Expected .* Received"):
        thin_plate.thin_plate_influence(value, LANDMARKS)


@pytest.mark.parametrize("far", [np.nan, np.inf, 1e300])
def test_a_map_is_finite_or_refused(far):
    points = np.array([(1.0, 2.0), (far, 3.0)])
    spline = ThinPlateSpline().fit(LANDMARKS + 1, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .*points.*Received"):
        spline.evaluate(points)
    with pytest.raises(ValueError, match="Expected .*points.*Received"):
        thin_plate.thin_plate_influence(LANDMARKS, points)
    landmarks = np.where(LANDMARKS == 0, far, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .*landmarks.*Received"):
        thin_plate.thin_plate_influence(landmarks, LANDMARKS)


@pytest.mark.parametrize(
    "shape", [None, 5, "ab", (4,), (4, 4, 4), (0, 4), (-1, 4), (4.5, 4), ((4, 4), 4)]
)
def test_a_displacement_has_a_grid(shape):
    spline = ThinPlateSpline().fit(LANDMARKS + 1, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .*shape.*Received"):
        spline.displacement(shape)


def test_landmarks_come_in_any_dress():
    moving, points = LANDMARKS + [1, 2], [(4, 4)]
    expected = thin_plate.thin_plate_influence(LANDMARKS, np.array(points, float))
    for dress in (np.ndarray.tolist, np.asfortranarray, lambda a: a.astype(">f4")):
        spline = ThinPlateSpline().fit(dress(moving), dress(LANDMARKS))
        npt.assert_allclose(spline.evaluate(points), [(5, 6)])
        found = thin_plate.thin_plate_influence(dress(LANDMARKS), points)
        npt.assert_array_equal(found, expected)
