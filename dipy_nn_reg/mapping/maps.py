"""Conversion between displacements in voxels and DIPY's maps in mm.

Displacements are converted from voxels to mm, and back, in the packages ``mapping`` and
``io`` alone. Transforms, losses and networks know voxels only; measures, figures,
reports and commands state lengths in mm.

Maps have the layout of DIPY's SyN: the codomain and the fields are on the grid of the
static image, the domain is the grid of the moving image. With the affines S and M of
these grids and a prealignment P from static to moving world coordinates, the moving
image is read at ``M^-1 P (S i + b(i))`` for voxel i, where b is ``mapping.backward`` in
mm.

Nothing here needs Keras, so the same functions work on a result of SyN. DIPY's
registration takes most of a second to import; it is imported where it is called, so
that commands show their help at once.
"""

from nibabel.affines import apply_affine
import numpy as np

from dipy_nn_reg.mapping.affines import (
    check_affine,
    grid_points,
    lift_affine,
    plane_affine,
    world_affine,
)
from dipy_nn_reg.mapping.inversion import check_field, invert_displacement
from dipy_nn_reg.mapping.map_checks import check_mapping, check_moving_shape

# Largest displacement across a slice, in voxels, and largest tilt that is rounding.
_ROUNDING = 1e-4


def displacement_to_mapping(
    displacement,
    *,
    static_affine=None,
    moving_shape=None,
    moving_affine=None,
    prealign=None,
    inverse=None,
):
    """Return the DIPY map of a displacement in voxels.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels of the static grid: ``warped(x) = moving(x + u(x))``, where the moving
        image has been resampled to the static grid through the affines and
        ``prealign``.
    static_affine, moving_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm; the identity by default. With affines
        of 4 x 4, a field of two axes makes a 3D map of one slice.
    moving_shape : tuple of int, optional
        Shape of the moving image; that of the static image by default.
    prealign : ndarray, shape (ndim + 1, ndim + 1), optional
        From static to moving world coordinates, as
        ``dipy.align.affine_registration`` returns it and
        ``dipy.align.syn_registration`` takes it.
    inverse : ndarray, shape (*spatial, ndim), optional
        The inverse displacement, on the same grid. By default it is computed, see
        :func:`~dipy_nn_reg.mapping.inversion.invert_displacement`.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        ``transform`` warps the moving image to the static one,
        ``transform_inverse`` the static image to the moving one.

    Raises
    ------
    ValueError
        If the shape of an array differs from those above, if a value is not finite,
        or if an affine cannot be inverted.
    """
    displacement = check_field("displacement", displacement)
    if inverse is None:
        inverse = invert_displacement(displacement)
    inverse = check_field("inverse", inverse, shape=displacement.shape)
    ndim = displacement.shape[-1]
    if ndim == 2 and np.shape(static_affine) == (4, 4):
        ndim = 3
        displacement, inverse = _as_slice(displacement), _as_slice(inverse)
        moving_shape = None if moving_shape is None else (*moving_shape, 1)[:3]
    static_shape = displacement.shape[:-1]
    moving_shape = check_moving_shape(moving_shape, static_shape)
    affines = {
        "static_affine": static_affine,
        "moving_affine": moving_affine,
        "prealign": prealign,
    }
    static_affine, moving_affine, prealign = (
        np.eye(ndim + 1) if affine is None else check_affine(affine, name=n, ndim=ndim)
        for n, affine in affines.items()
    )
    mapping = _make_map(
        static_shape, static_affine, moving_shape, moving_affine, prealign
    )
    to_mm = static_affine[:ndim, :ndim].T.astype(np.float32)
    with np.errstate(over="ignore"):  # check_field finds values that overflow
        fields = displacement @ to_mm, inverse @ to_mm
    mapping.backward = check_field("displacement in mm", fields[0])
    mapping.forward = check_field("inverse in mm", fields[1])
    return mapping


def _make_map(static_shape, static_affine, moving_shape, moving_affine, prealign):
    """Return a DIPY map between two grids, still without fields."""
    from dipy.align.imwarp import DiffeomorphicMap

    mapping = DiffeomorphicMap(
        len(static_shape),
        static_shape,
        disp_grid2world=static_affine,
        domain_shape=moving_shape,
        domain_grid2world=moving_affine,
        codomain_shape=static_shape,
        codomain_grid2world=static_affine,
        prealign=np.linalg.inv(prealign),
    )
    mapping.is_inverse = True
    return mapping


def mapping_to_displacement(mapping):
    """Return the displacement of a map in voxels, and that of its inverse.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        As :func:`displacement_to_mapping` or DIPY's SyN returns it.

    Returns
    -------
    displacement, inverse : ndarray, float32, shape (*spatial, ndim)
        In voxels of the static grid, without the prealignment.

    Raises
    ------
    ValueError
        If the map has another layout.
    """
    check_mapping(mapping)
    return tuple(
        _in_voxels(field, mapping) for field in (mapping.backward, mapping.forward)
    )


def displacement_of(mapping):
    """Return the displacement of a map in voxels, without that of its inverse."""
    check_mapping(mapping)
    return _in_voxels(mapping.backward, mapping)


def _in_voxels(field, mapping):
    """Convert a field of a map from mm to voxels of the static grid."""
    if not mapping.is_inverse:
        raise ValueError(
            "Expected a map whose transform uses its backward field, as SyN returns "
            "it. Received a map with is_inverse=False."
        )
    ndim = mapping.dim
    linear = world_affine(mapping.disp_grid2world, ndim)[:ndim, :ndim]
    to_voxels = np.linalg.inv(linear).T.astype(np.float32)
    return np.asarray(field, np.float32) @ to_voxels


def invert_mapping(mapping):
    """Return the map from the moving to the static image, on the moving grid.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        As :func:`displacement_to_mapping` returns it.

    Returns
    -------
    inverse : dipy.align.imwarp.DiffeomorphicMap
        In the same layout, with the static and the moving image exchanged.

    Raises
    ------
    ValueError
        If the map has another layout, or if a value is not finite.
    """
    check_mapping(mapping)
    ndim, moving_shape = mapping.dim, tuple(mapping.domain_shape)
    # DIPY's prealign goes from moving to static: the direction that the inverse needs.
    static_affine, moving_affine, to_static = _affines_of(mapping)
    to_moving = np.linalg.inv(to_static)
    points = grid_points(moving_shape, moving_affine)
    backward = apply_affine(to_moving, mapping.transform_points_inverse(points))
    forward = mapping.transform_points(apply_affine(to_static, points))
    to_voxels = np.linalg.inv(moving_affine[:ndim, :ndim]).T
    displacement, inverse = (
        ((moved - points) @ to_voxels).reshape(*moving_shape, ndim)
        for moved in (backward, forward)
    )
    return displacement_to_mapping(
        displacement,
        static_affine=moving_affine,
        moving_shape=tuple(mapping.codomain_shape),
        moving_affine=static_affine,
        prealign=to_static,
        inverse=inverse,
    )


def lift_mapping(mapping):
    """Return a 2D map as a 3D map of one slice."""
    displacement, inverse = mapping_to_displacement(mapping)
    static_affine, moving_affine, to_static = map(lift_affine, _affines_of(mapping))
    return displacement_to_mapping(
        displacement,
        inverse=inverse,
        static_affine=static_affine,
        moving_shape=tuple(mapping.domain_shape),
        moving_affine=moving_affine,
        prealign=np.linalg.inv(to_static),
    )


def flatten_mapping(mapping):
    """Return a 3D map of one slice as a 2D map in the plane of the slice.

    Raises
    ------
    ValueError
        If the map has more slices or displacements across the slice, or if a slice or
        the map is tilted out of the x-y plane.
    """
    displacement, inverse = mapping_to_displacement(mapping)
    if displacement.shape[2:] != (1, 3):
        raise ValueError(
            f"Expected a map of one slice. Received one of {displacement.shape[:-1]}."
        )
    across = max(np.abs(field[..., 2]).max() for field in (displacement, inverse))
    if across > _ROUNDING:
        raise ValueError(
            f"Expected a map without displacements across the slice. Received one of "
            f"{across:.3g} voxels."
        )
    static_affine, moving_affine, to_static = _affines_of(mapping)
    height = moving_affine[2, 3]
    return displacement_to_mapping(
        displacement[:, :, 0, :2],
        inverse=inverse[:, :, 0, :2],
        static_affine=_affine_in_plane(static_affine),
        moving_shape=tuple(mapping.domain_shape)[:2],
        moving_affine=_affine_in_plane(moving_affine),
        prealign=np.linalg.inv(_affine_in_plane(to_static, height)),
    )


def _affines_of(mapping):
    """Return the affines of the static and the moving grid, and that to static."""
    affines = mapping.codomain_grid2world, mapping.domain_grid2world, mapping.prealign
    return [world_affine(affine, mapping.dim) for affine in affines]


def _affine_in_plane(affine, height=0.0):
    """Return what an affine, which may not tilt, does to points of one height."""
    if np.abs(affine[2, :2]).max() > _ROUNDING * np.abs(affine[:3, :3]).max():
        raise ValueError(
            f"Expected slices in the x-y plane. Received an affine that leads out of "
            f"it: {affine.tolist()}."
        )
    flat = plane_affine(affine).copy()
    flat[:2, 2] += height * affine[:2, 2]
    return flat


def _as_slice(field):
    """Return a 2D field as a 3D field of one slice, without motion across it."""
    return np.pad(field[:, :, None], [(0, 0)] * 3 + [(0, 1)])
