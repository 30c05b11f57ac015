"""Pairs as tensors, and the interpolation of their moving images, against SciPy."""

from keras import ops
from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import map_coordinates

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.mapping.pair_on_grid import PairOnGrid, Source
from dipy_nn_reg.pairwise.pair_tensors import (
    PairTensors,
    _usual_size,
    as_tensors,
    warp_moving,
)


def test_a_pair_is_swapped_with_its_annotations(rng):
    arrays = [rng.random((1, 4, 4, 1)) for _ in range(2)]
    masks = {"mask": rng.random((1, 4, 4, 1))}
    pair = PairTensors(*arrays, "moving fill", "static fill", Annotations(**masks))
    swapped = pair.swapped()
    assert swapped.moving is pair.static and swapped.static is pair.moving
    assert swapped.moving_fill == "static fill"
    assert swapped.annotations.moving_mask is masks["mask"]
    assert pair.shape == (4, 4)


def test_annotations_follow_an_image_that_is_warped():
    """Points turn by a right angle, and fibres with the image, the other way."""
    shape = (1, 5, 5, 5)
    x, y, z = np.indices(shape[1:], np.float32)
    # Voxel (x, y) is read at (y, 4 - x).
    displacement = np.stack([y - x, 4 - x - y, 0 * z], axis=-1)[None]
    image = np.random.default_rng(0).random((*shape, 1)).astype(np.float32)
    fibres = np.zeros((*shape, 6), np.float32)
    fibres[..., 0] = 1  # along the first axis
    annotations = Annotations(moving_mask=image, mask=image, moving_orientations=fibres)
    fills = np.zeros((2, 1, 1), np.float32)
    pair = PairTensors(image, image, *fills, annotations)
    warped = pair.warped(ops.convert_to_tensor(displacement))
    turned = np.swapaxes(image[:, :, ::-1], 1, 2)
    npt.assert_allclose(ops.convert_to_numpy(warped.moving), turned, atol=1e-6)
    npt.assert_allclose(
        ops.convert_to_numpy(warped.annotations.moving_mask), turned, atol=1e-6
    )
    assert warped.annotations.mask is image
    inner = ops.convert_to_numpy(warped.annotations.moving_orientations)
    npt.assert_allclose(
        inner[:, 1:-1, 1:-1, 1:-1],
        np.broadcast_to([0, 0, 1, 0, 0, 0], (1, 3, 3, 3, 6)),
        atol=1e-5,
    )


def rotation(ndim, degrees=10.0):
    """Return an affine that turns in the plane of the first two axes, and shifts."""
    angle, matrix = np.deg2rad(degrees), np.eye(ndim + 1)
    matrix[:2, :2] = [[np.cos(angle), -np.sin(angle)], [np.sin(angle), np.cos(angle)]]
    matrix[:ndim, -1] = 0.7
    return matrix


@pytest.mark.backends
@pytest.mark.parametrize("shape", [(17, 12), (11, 9, 10)])
def test_a_moving_image_is_interpolated_once(shape, rng):
    """Checkerboards hardly survive two interpolations; values are those of one."""
    ndim = len(shape)
    stored = (np.indices([n + 3 for n in shape]).sum(0) % 2).astype(np.float32)
    matrix = rotation(ndim)
    static = rng.random((*shape, 1), np.float32)
    source = Source(stored[..., None], matrix)
    on_grid = np.zeros_like(static)
    on_grid.flat[0] = 1  # the range of the image on the grid, from which it is rescaled
    pair = PairOnGrid(on_grid, static, Annotations(), np.eye(ndim + 1), source=source)
    displacement = rng.uniform(-1, 1, (*shape, ndim)).astype(np.float32)
    images, fills, _ = as_tensors(pair).as_dicts()
    warped = warp_moving(
        images, fills["moving"], ops.convert_to_tensor(displacement[None])
    )
    points = apply_affine(matrix, np.moveaxis(np.indices(shape), 0, -1) + displacement)
    expected = map_coordinates(
        stored, np.moveaxis(points, -1, 0), order=1, mode="grid-constant"
    )
    npt.assert_allclose(ops.convert_to_numpy(warped)[0, ..., 0], expected, atol=1e-5)


@pytest.mark.parametrize(
    ("shapes", "expected"),
    [
        (((35, 52), (48, 64), (33, 49)), (48, 64)),
        (((160, 11, 9), (145, 12, 10), (151, 9, 12)), (160, 12, 12)),
        (((1, 2, 5), (1, 2, 6)), (1, 2, 6)),
    ],
)
def test_images_of_many_sizes_need_few_programs(shapes, expected, rng):
    for shape in shapes:
        static = rng.random((*[4] * len(shape), 1), np.float32)
        stored = 1 + rng.random((*shape, 2), np.float32)
        source = Source(stored, rotation(len(shape)))
        still = np.eye(len(shape) + 1)
        on_grid = np.concatenate([static, static], axis=-1)
        pair = PairOnGrid(on_grid, on_grid, Annotations(), still, source=source)
        images, fills, _ = as_tensors(pair).as_dicts()
        found = ops.convert_to_numpy(images["source"])[0]
        assert found.shape == (*expected, 2)
        inside = np.zeros(expected, bool)
        inside[tuple(map(slice, shape))] = True
        fill = ops.convert_to_numpy(fills["moving"])
        assert (found[~inside] == fill).all()


def test_coarse_images_and_other_moving_images_have_no_source(rng):
    image = ops.convert_to_tensor(rng.random((1, 8, 8, 1), np.float32))
    fill = ops.zeros((1, 1))
    source = image, ops.eye(3)[None, :2]
    pair = PairTensors(image, image, fill, fill, source=source)
    assert pair.shrunk(1).source is source
    still = ops.zeros((1, 8, 8, 2))
    for other in (pair.shrunk(2), pair.swapped(), pair.warped(still)):
        assert other.source is None
        assert "source" not in other.as_dicts()[0]


def test_stored_images_are_padded_to_few_shapes_and_little():
    sizes = np.arange(1, 1000)
    usual = np.array([_usual_size(int(size)) for size in sizes])
    assert np.all(usual >= sizes)
    assert np.all(usual[sizes > 128] < 1.125 * sizes[sizes > 128])
    assert np.all(usual < np.maximum(sizes + 1, 1.5 * sizes))
    assert len(set(usual)) < 50
