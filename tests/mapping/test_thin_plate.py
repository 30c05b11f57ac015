import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.mapping.thin_plate import ThinPlateSpline


@pytest.fixture
def landmarks(rng):
    def make(ndim, n=15):
        static = rng.uniform(0, 20, (n, ndim))
        return static + rng.normal(0, 1, (n, ndim)), static

    return make


def bookstein(static, moving, points, smoothing):
    """Solve the system of Bookstein (1989), written out in NumPy."""

    def kernel(one, other):
        squares = np.sum((one[:, None] - other) ** 2, axis=-1)
        if static.shape[1] == 3:
            return -np.sqrt(squares)
        return squares * np.log(np.where(squares > 0, squares, 1))

    def ones(array):
        return np.concatenate([np.ones((len(array), 1)), array], axis=1)

    n, m = len(static), static.shape[1] + 1
    system = np.zeros((n + m, n + m))
    system[:n, :n] = kernel(static, static) + smoothing * np.eye(n)
    system[:n, n:], system[n:, :n] = ones(static), ones(static).T
    solution = np.linalg.solve(system, np.vstack([moving, np.zeros((m, m - 1))]))
    return kernel(points, static) @ solution[:n] + ones(points) @ solution[n:]


@pytest.mark.parametrize("smoothing", [0, 0.5, 20])
@pytest.mark.parametrize("ndim", [2, 3])
def test_bookstein_s_system_of_equations(ndim, smoothing, landmarks, rng):
    moving, static = landmarks(ndim)
    points = rng.uniform(-5, 25, (200, ndim))
    spline = ThinPlateSpline(smoothing=smoothing).fit(moving, static)
    expected = bookstein(static, moving, points, smoothing)
    npt.assert_allclose(spline.evaluate(points), expected, atol=1e-7)


@pytest.mark.parametrize("ndim", [2, 3])
def test_meets_the_landmarks_and_keeps_affine_maps(ndim, landmarks, rng):
    moving, static = landmarks(ndim)
    spline = ThinPlateSpline().fit(moving, static)
    npt.assert_allclose(spline.evaluate(static), moving, atol=1e-9)
    matrix, offset = rng.normal(size=(ndim, ndim)), rng.normal(size=ndim)
    spline.fit(static @ matrix.T + offset, static)
    points = rng.uniform(-9, 30, (40, ndim))
    npt.assert_allclose(spline.evaluate(points), points @ matrix.T + offset, atol=1e-7)


@pytest.mark.parametrize("shape", [(9, 12), (6, 7, 8)])
def test_displacement_of_a_grid(shape, landmarks):
    spline = ThinPlateSpline().fit(*landmarks(len(shape)))
    field = spline.displacement(shape)
    assert field.shape == (*shape, len(shape))
    assert field.dtype == np.float32
    index = tuple(n // 2 for n in shape)
    npt.assert_allclose(field[index] + index, spline.evaluate(index), rtol=1e-5)


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
def test_invalid_points_are_refused(value):
    spline = ThinPlateSpline().fit(LANDMARKS + 1, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .* Received"):
        spline.evaluate(value)
    with pytest.raises(ValueError, match="Expected .* Received"):
        ThinPlateSpline().fit(value, LANDMARKS)


@pytest.mark.parametrize("far", [np.nan, np.inf, 1e300])
def test_a_map_is_finite_or_refused(far):
    points = np.array([(1.0, 2.0), (far, 3.0)])
    spline = ThinPlateSpline().fit(LANDMARKS + 1, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .*points.*Received"):
        spline.evaluate(points)
    landmarks = np.where(LANDMARKS == 0, far, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .*landmarks.*Received"):
        ThinPlateSpline().fit(LANDMARKS, landmarks)


@pytest.mark.parametrize(
    "shape", [None, 5, "ab", (4,), (4, 4, 4), (0, 4), (-1, 4), (4.5, 4), ((4, 4), 4)]
)
def test_a_displacement_has_a_grid(shape):
    spline = ThinPlateSpline().fit(LANDMARKS + 1, LANDMARKS)
    with pytest.raises(ValueError, match="Expected .*shape.*Received"):
        spline.displacement(shape)


def test_landmarks_of_any_real_type():
    moving, points = LANDMARKS + [1, 2], [(4, 4)]
    for dress in (np.ndarray.tolist, np.asfortranarray, lambda a: a.astype(">f4")):
        spline = ThinPlateSpline().fit(dress(moving), dress(LANDMARKS))
        npt.assert_allclose(spline.evaluate(points), [(5, 6)])
