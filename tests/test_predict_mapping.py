"""Maps of DIPY from predictions of a model."""

from functools import cache

import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg import AffineRegistration, DeformableRegistration
from dipy_nn_reg.intensities import estimate_background
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.maps import mapping_to_displacement
from dipy_nn_reg.mapping.parts import Parts, Prediction


def deforming(ndim, *, kind=DeformableRegistration, **options):
    """Return a model with random weights, which deforms as a trained one would."""
    registration = kind(input_shape=(16,) * ndim, seed=0, **options)
    rng = np.random.default_rng(0)
    for weights in registration.model.trainable_weights:
        weights.assign_add(0.02 * rng.normal(size=weights.shape))
    return registration


@cache
def default(ndim):
    """Return one model of default options for all tests, none of which changes it."""
    return deforming(ndim)


def read(image, positions, *, outside=0.0):
    return map_coordinates(
        image,
        np.moveaxis(positions, -1, 0),
        order=1,
        mode="grid-constant",
        cval=outside,
    )


def transform(mapping, moving):
    """Transform an image by a map of DIPY, which reads 0 outside, to its background."""
    background = estimate_background(moving)
    return mapping.transform(moving - np.float32(background)) + background


def apply(affine, points):
    return points @ affine[:-1, :-1].T + affine[:-1, -1]


@pytest.mark.backends
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize(
    "options",
    [
        {},
        pytest.param({"transform": "displacement"}, marks=pytest.mark.slow),
        pytest.param({"transform": "bspline_velocity"}, marks=pytest.mark.slow),
        {"transform": "affine"},
    ],
    ids=lambda options: options.get("transform", "default"),
)
def test_map_agrees_with_predict_on_one_grid(ndim, options, rng):
    registration = deforming(ndim, **options) if options else default(ndim)
    shape = (17, 20, 15)[:ndim]
    moving, static = rng.random((2, *shape), np.float32)
    mapping = registration.predict_mapping(moving, static)
    expected = registration.predict(moving[None], static)[0]
    assert np.abs(expected - moving).max() > 0.1
    npt.assert_allclose(transform(mapping, moving), expected, atol=1e-5)


@pytest.mark.parametrize("ndim", [2, pytest.param(3, marks=pytest.mark.slow)])
def test_affine_first_stage_is_part_of_the_map(ndim, rng):
    first = deforming(ndim, kind=AffineRegistration)
    registration = deforming(ndim, affine=first)
    moving, static = rng.random((2, *(18,) * ndim), np.float32)
    mapping = registration.predict_mapping(moving, static)
    expected = registration.predict(moving[None], static)[0]
    npt.assert_allclose(transform(mapping, moving), expected, atol=1e-5)
    assert not np.allclose(mapping.prealign, np.eye(ndim + 1), atol=1e-3)
    # Points near the middle, because the map is not defined beyond the grid.
    inner = grid_points((6,) * ndim, np.eye(ndim + 1)) + 6
    back = mapping.transform_points_inverse(mapping.transform_points(inner))
    assert np.linalg.norm(back - inner, axis=1).mean() < 0.1


def test_files_bring_their_affines(rng, tmp_path):
    registration, affines = default(2), [np.diag([2.0, 2, 1, 1]), np.eye(4)]
    images = rng.random((2, 16, 16, 1), dtype=np.float32)
    paths = [tmp_path / f"{i}.nii.gz" for i in range(2)]
    for path, image, affine in zip(paths, images, affines):
        nib.save(nib.Nifti1Image(image, affine), path)
    grids = dict(zip(("moving_affine", "static_affine"), affines))
    expected = registration.predict_mapping(*images, **grids)
    mapping = registration.predict_mapping(*paths)
    npt.assert_array_equal(mapping.backward, expected.backward)
    refined, _ = registration.refine(*map(nib.load, paths), level_iters=(1,))
    assert refined.backward.shape == expected.backward.shape


def test_moving_image_on_another_grid_is_sampled_once(pair):
    """The input of the network and the sampled positions are computed here by hand."""
    registration = default(pair.moving.ndim)
    static = np.random.default_rng(5).random(pair.field.shape[:-1])
    total = np.linalg.inv(pair.moving_affine) @ pair.static_affine
    if pair.prealign is not None:
        total = np.linalg.inv(pair.moving_affine) @ pair.prealign @ pair.static_affine
    voxels = np.moveaxis(np.indices(static.shape, dtype=float), 0, -1)
    outside = estimate_background(pair.moving)
    seen = read(pair.moving, apply(total, voxels), outside=outside)
    field = registration.predict_field(seen[None], static)[0]
    expected = read(pair.moving, apply(total, voxels + field))
    assert np.abs(expected - seen).max() > 0.02

    mapping = registration.predict_mapping(
        pair.moving,
        static,
        moving_affine=pair.moving_affine,
        static_affine=pair.static_affine,
        prealign=pair.prealign,
    )
    npt.assert_allclose(mapping.transform(pair.moving), expected, atol=1e-5)


def test_inverse_returns_points(pair):
    registration = default(pair.moving.ndim)
    mapping = registration.predict_mapping(
        pair.moving,
        np.random.default_rng(5).random(pair.field.shape[:-1]),
        moving_affine=pair.moving_affine,
        static_affine=pair.static_affine,
        prealign=pair.prealign,
    )
    # Points that stay on the grid, beyond which the field is not defined.
    margin = int(np.ceil(np.abs(mapping_to_displacement(mapping)[0]).max()))
    shape = pair.field.shape[:-1]
    points = grid_points(shape, pair.static_affine).reshape(*shape, -1)
    inside = (slice(margin, -margin),) * len(shape)
    points = points[inside].reshape(-1, len(shape))
    mapped = np.asarray(mapping.transform_points(points))
    back = np.asarray(mapping.transform_points_inverse(mapped))
    voxel = np.abs(np.linalg.det(pair.static_affine[:-1, :-1])) ** (1 / points.shape[1])
    assert np.linalg.norm(back - points, axis=1).mean() < 0.1 * voxel


@pytest.mark.parametrize("size", [2.2, pytest.param(0.9, marks=pytest.mark.slow)])
def test_network_may_use_another_voxel_size(size, pair, monkeypatch):
    registration = default(pair.moving.ndim)
    static = np.random.default_rng(5).random(pair.field.shape[:-1])
    grids = {"moving_affine": pair.moving_affine, "static_affine": pair.static_affine}
    seen, predict = [], registration.predictor.predict_on_grid
    monkeypatch.setattr(
        registration.predictor,
        "predict_on_grid",
        lambda *images: seen.append(images) or predict(*images),
    )
    options = {"voxel_size": size, **grids}
    mapping = registration.predict_mapping(pair.moving, static, **options)
    sizes = nib.affines.voxel_sizes(pair.static_affine)
    expected = np.ceil(np.array(static.shape) * sizes / size)
    assert seen[0][0].shape[:-1] == seen[0][1].shape[:-1] == tuple(expected)

    # A displacement of one voxel of the network is as many mm on the other grid.
    parts = np.zeros((*seen[0][0].shape[:-1], static.ndim)) + [
        1,
        *[0] * (static.ndim - 1),
    ]
    prediction = Prediction(Parts(parts, lambda: -parts), None, 1)
    monkeypatch.setattr(
        registration.predictor, "predict_on_grid", lambda *images: prediction
    )
    mapping = registration.predict_mapping(
        pair.moving, static, voxel_size=size, **grids
    )
    expected = pair.static_affine[:-1, 0] / sizes[0] * size
    middle = tuple(n // 2 for n in static.shape)
    npt.assert_allclose(mapping.backward[middle], expected, atol=1e-4)
    npt.assert_allclose(mapping.forward[middle], -expected, atol=1e-4)


def test_voxels_of_almost_the_same_size_are_resampled(rng, monkeypatch):
    registration = default(3)
    ones = np.ones((12, 12, 12, 3))
    prediction = Prediction(Parts(ones, lambda: -ones), None, 1)
    monkeypatch.setattr(
        registration.predictor, "predict_on_grid", lambda *images: prediction
    )
    images, affine = rng.random((2, 12, 12, 12)), np.diag([2.0, 2, 2, 1])
    grids = {"moving_affine": affine, "static_affine": affine}
    mapping = registration.predict_mapping(*images, voxel_size=2.02, **grids)
    npt.assert_allclose(mapping.backward, 2.02, atol=1e-5)


@pytest.mark.slow
def test_2d_model_takes_slices_of_nifti_files(scene, rng):
    registration = default(2)
    affine = scene(3, False).static_affine
    moving, static = rng.random((2, 20, 18, 1), np.float32)
    grids = {"moving_affine": affine, "static_affine": affine}
    mapping = registration.predict_mapping(moving, static, **grids)
    expected = registration.predict(moving[None, ..., 0], static[..., 0])[0]
    found = transform(mapping, moving)[..., 0]
    npt.assert_allclose(found, expected, atol=1e-5)
    aligned = registration.predict_mapping(
        moving, static, prealign="rigid", voxel_size=2.5, **grids
    )
    # Nothing moves across the slice.
    across = affine[:3, 2]
    npt.assert_allclose(aligned.prealign[:3, :3] @ across, across, atol=1e-6)


def test_channels_are_registered_together(rng):
    registration = deforming(2, num_channels=2)
    moving, static = rng.random((2, 17, 20, 2), np.float32)
    mapping = registration.predict_mapping(moving, static)
    expected = registration.predict(moving[None], static)[0]
    found = transform(mapping, moving[..., 1])
    npt.assert_allclose(found, expected[..., 1], atol=1e-5)


def test_images_that_do_not_overlap_are_refused(rng):
    moving, static = rng.random((2, 9, 9, 9))
    far = np.eye(4)
    far[0, 3] = 100
    with pytest.raises(ValueError, match="overlap.*prealign"):
        DeformableRegistration(input_shape=(9, 9, 9)).predict_mapping(
            moving, static, moving_affine=far, static_affine=np.eye(4)
        )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moving_affine": np.eye(4)}, "both images or of none.*moving_affine alone"),
        (
            {"moving_affine": np.eye(4), "static_affine": np.zeros((4, 4))},
            "static_affine",
        ),
        ({"prealign": "elastic"}, "prealign.*'rigid'.*'elastic'"),
        ({"prealign": np.eye(3)}, r"prealign of shape \(4, 4\)"),
        ({"voxel_size": 0}, "voxel_size.*> 0"),
        (
            {"static": np.zeros((9, 9))},
            r"static to be one image.*=\(9, 9\)",
        ),
        ({"moving": np.full((9, 9, 9), np.nan)}, "finite values in moving"),
    ],
)
def test_invalid_input_is_refused(options, message):
    moving, static = np.random.default_rng(0).random((2, 9, 9, 9))
    images = {"moving": moving, "static": static}
    with pytest.raises(ValueError, match=message):
        DeformableRegistration(input_shape=(9, 9, 9)).predict_mapping(
            **{**images, **options}
        )
