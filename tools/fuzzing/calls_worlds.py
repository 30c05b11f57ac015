"""Valid calls of functions that map arrays and points between spaces."""

import numpy as np

from dipy_nn_reg import mapping
from dipy_nn_reg.mapping import (
    affines,
    bvecs,
    maps,
    prealign,
    regridding,
    resampling,
    thin_plate,
)
from dipy_nn_reg.mapping.grid import Grid
from fuzzing import scenes
from fuzzing.call import (
    Call,
    affine,
    field_of,
    fixed,
    image,
    maybe,
    name_of,
    number,
    points,
    sequence,
    shape,
)
from fuzzing.call import mapping as map_of


def _through(run_map, rng, size):
    """Return the results of a map on an image and on points, or raise its error."""
    array = scenes.blob(rng, size)

    def run(**arguments):
        made = run_map(**arguments)
        moving = array if tuple(made.domain_shape) == size else None
        if moving is None:
            return made
        images = made.transform(moving), made.transform_inverse(moving)
        return made, images, made.transform_points(np.ones((2, made.dim)))

    return run


def displacement_to_mapping(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    ndim, u = len(size), scenes.field(rng, size)
    return Call(
        _through(mapping.displacement_to_mapping, rng, size),
        call_name="displacement_to_mapping",
        displacement=field_of(u),
        **maybe(
            rng,
            static_affine=affine(scenes.affine(rng, ndim)),
            moving_affine=affine(scenes.affine(rng, ndim)),
            moving_shape=shape(size),
            prealign=affine(scenes.near_identity(rng, ndim)),
            inverse=field_of(-u),
        ),
    )


def invert_displacement(rng, folder):
    u = scenes.field(rng, scenes.any_shape(rng, thin=False))
    return Call(mapping.invert_displacement, displacement=field_of(u))


def mapping_to_displacement(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    made = scenes.mapping(rng, size, plain=rng.random() < 0.3)
    return Call(mapping.mapping_to_displacement, mapping=map_of(made), nan="through")


def invert_mapping(rng, folder):
    size = scenes.any_shape(rng, thin=False)
    return Call(
        _through(mapping.invert_mapping, rng, size),
        call_name="invert_mapping",
        mapping=map_of(scenes.mapping(rng, size)),
    )


def lift_mapping(rng, folder):
    size = scenes.any_shape(rng, ndim=2)
    return Call(maps.lift_mapping, mapping=map_of(scenes.mapping(rng, size)))


def check_affine(rng, folder):
    ndim = int(rng.integers(2, 4))
    return Call(
        affines.check_affine,
        affine=affine(scenes.affine(rng, ndim)),
        name=fixed("affine"),
        ndim=fixed(ndim),
    )


def _points_and_maps(rng):
    size = scenes.any_shape(rng, thin=False)
    ndim = len(size)
    steps = [scenes.near_identity(rng, ndim), scenes.mapping(rng, size)]
    where = rng.integers(0, 20, (7, ndim)) / 4
    return {"points": points(where), "maps": sequence(steps[: rng.integers(1, 3)])}


def to_moving(rng, folder):
    return Call(mapping.points.to_moving, nan="through", **_points_and_maps(rng))


def to_static(rng, folder):
    return Call(mapping.points.to_static, nan="through", **_points_and_maps(rng))


def resample(rng, folder):
    size, grid = (scenes.any_shape(rng, ndim=n) for n in [rng.integers(2, 4)] * 2)
    ndim = len(size)

    find = fixed(lambda places: places)
    if rng.random() < 0.5:
        find = sequence([scenes.affine(rng, ndim) for _ in range(2)])

    def on_grid(image, affine, find, shape, grid_affine, **options):
        grid = Grid(shape, grid_affine)
        return resampling.resample(image, affine, find, grid, **options)

    return Call(
        on_grid,
        image=image(scenes.blob(rng, size)),
        affine=affine(scenes.affine(rng, ndim)),
        find=find,
        shape=shape(grid),
        grid_affine=affine(scenes.affine(rng, ndim)),
        nan="through",
        **maybe(rng, interpolation=name_of("linear")),
    )


def read_on_grid(rng, folder):
    size, grid = (scenes.any_shape(rng, ndim=n) for n in [rng.integers(2, 4)] * 2)
    ndim = len(size)

    def on_grid(image, affine, maps, shape, grid_affine):
        return regridding.read_on_grid(image, affine, maps, Grid(shape, grid_affine))

    return Call(
        on_grid,
        image=image(scenes.blob(rng, size)),
        affine=affine(scenes.affine(rng, ndim)),
        maps=sequence([scenes.near_identity(rng, ndim)]),
        shape=shape(grid),
        grid_affine=affine(scenes.affine(rng, ndim)),
        nan="through",
    )


def grid_of_voxel_size(rng, folder):
    size = scenes.any_shape(rng)

    def make(shape, affine, voxel_size):
        grid = Grid(shape, affine).with_voxel_size(voxel_size)
        return grid.shape, grid.affine

    return Call(
        make,
        shape=shape(size),
        affine=affine(scenes.affine(rng, len(size))),
        voxel_size=number(2.0),
    )


def inverse_error(rng, folder):
    size = scenes.any_shape(rng, thin=False)

    def error(maps, shape, affine):
        return mapping.points.inverse_error(maps, Grid(shape, affine))

    return Call(
        error,
        maps=sequence([scenes.mapping(rng, size)]),
        shape=shape(size),
        affine=affine(scenes.affine(rng, len(size))),
    )


def estimate_prealign(rng, folder):
    moving, static = scenes.pair(int(rng.integers(2, 4)))
    return Call(
        prealign.estimate_prealign,
        moving=image(moving),
        static=image(static),
        moving_affine=affine(np.eye(moving.ndim + 1)),
        static_affine=affine(np.eye(moving.ndim + 1)),
        kind=name_of(rng.choice(["auto", "rigid", "similarity", "affine"]).item()),
    )


def check_prealign(rng, folder):
    ndim = int(rng.integers(2, 4))
    return Call(
        prealign.check_prealign,
        prealign=affine(scenes.near_identity(rng, ndim)),
        ndim=fixed(ndim),
    )


def rotate_bvecs(rng, folder):
    vectors = np.array([[1.0, 0, 0], [0, 1, 0], [0, 0, 1], [0, 0, 0]])
    return Call(
        bvecs.rotate_bvecs,
        bvecs=points(vectors),
        moving_affine=affine(scenes.affine(rng, 3)),
        static_affine=affine(scenes.affine(rng, 3)),
        **maybe(rng, prealign=affine(scenes.near_identity(rng, 3))),
    )


def thin_plate_spline(rng, folder):
    ndim = int(rng.integers(2, 4))
    static = np.zeros((8, ndim))
    while len(np.unique(static, axis=0)) < len(static):  # landmarks must differ
        static = rng.permuted(np.tile(np.arange(8.0), (ndim, 1)), axis=1).T
        static[:4] *= 1.5

    def spline(moving, static, points, smoothing=0.0, shape=(3,) * ndim):
        fitted = thin_plate.ThinPlateSpline(smoothing=smoothing).fit(moving, static)
        return fitted.evaluate(points), fitted.displacement(shape)

    return Call(
        spline,
        call_name="ThinPlateSpline",
        moving=points(static + rng.integers(-1, 2, static.shape) / 2),
        static=points(static),
        points=points(rng.integers(0, 9, (4, ndim)) / 2),
        **maybe(rng, smoothing=number(0.5), shape=shape((4,) * ndim)),
    )
