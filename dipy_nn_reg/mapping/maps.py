"""Maps in physical space: DIPY's ``DiffeomorphicMap`` and displacements in voxels.

Millimetres are dealt with in this module and in those that build on it,
:mod:`~dipy_nn_reg.io.fields` and :mod:`~dipy_nn_reg.mapping.resampling`. Maps are
laid out as those of DIPY's SyN: codomain and field on the grid of the static image,
domain the grid of the moving one. With the affines S and M of these grids and a
prealignment P from static to moving world coordinates, the moving image is read at
``M^-1 P (S i + b(i))`` for voxel i, where b is ``mapping.backward`` in mm.

Nothing here needs Keras: a SyN result is treated with the same functions. DIPY's
registration takes most of a second to import, and is imported where it is called, so
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
from dipy_nn_reg.mapping.affines import with_last_row as with_last_row
from dipy_nn_reg.mapping.inversion import check_field, invert_displacement


def displacement_to_mapping(
    displacement,
    *,
    static_affine=None,
    moving_shape=None,
    moving_affine=None,
    prealign=None,
    inverse=None,
):
    """Make a DIPY map of a displacement in voxels.

    Parameters
    ----------
    displacement : ndarray, shape (*spatial, ndim)
        In voxels of the static grid: ``warped(x) = moving(x + u(x))``, where the moving
        image has been resampled to the static grid through the affines and
        ``prealign``.
    static_affine, moving_affine : ndarray, shape (ndim + 1, ndim + 1), optional
        From voxels to world coordinates in mm; the identity by default. A field of two
        axes with affines of 4 x 4 makes a map of one slice in 3D.
    moving_shape : tuple of int, optional
        Size of the moving image; that of the static one by default.
    prealign : ndarray, shape (ndim + 1, ndim + 1), optional
        From static to moving world coordinates, as ``prealign`` of
        ``dipy.align.syn_registration`` and what ``dipy.align.affine_registration``
        returns.
    inverse : ndarray, shape (*spatial, ndim), optional
        The inverse displacement, on the same grid. By default it is computed, see
        :func:`~dipy_nn_reg.mapping.inversion.invert_displacement`.

    Returns
    -------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        ``transform`` brings the moving image to the static one,
        ``transform_inverse`` the static to the moving one.

    Raises
    ------
    ValueError
        If an array has another shape than said above, or holds values that are not
        finite, or an affine cannot be inverted.
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
    from dipy.align.imwarp import DiffeomorphicMap

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
    mapping = DiffeomorphicMap(
        ndim,
        static_shape,
        disp_grid2world=static_affine,
        domain_shape=moving_shape,
        domain_grid2world=moving_affine,
        codomain_shape=static_shape,
        codomain_grid2world=static_affine,
        prealign=np.linalg.inv(prealign),
    )
    to_mm = static_affine[:ndim, :ndim].T.astype(np.float32)
    with np.errstate(over="ignore"):  # which is found afterwards
        fields = displacement @ to_mm, inverse @ to_mm
    mapping.backward = check_field("displacement in mm", fields[0])
    mapping.forward = check_field("inverse in mm", fields[1])
    mapping.is_inverse = True
    return mapping


def check_mapping(mapping):
    """Raise ValueError unless this is a map as DIPY's SyN returns it.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
    """
    names = ("dim", "backward", "forward", "codomain_shape", "domain_shape")
    if isinstance(mapping, type) or not all(hasattr(mapping, name) for name in names):
        raise ValueError(
            f"Expected a DiffeomorphicMap. Received a {type(mapping).__name__}."
        )
    ndim = mapping.dim
    for name, field in (("backward", mapping.backward), ("forward", mapping.forward)):
        shape = np.shape(field)
        if ndim not in (2, 3) or len(shape) != ndim + 1 or shape[-1] != ndim:
            raise ValueError(
                f"Expected a map with a {name} field of shape (*spatial, ndim). "
                f"Received one of dim={ndim} and a field of shape {shape}."
            )
    if np.shape(mapping.backward) != np.shape(mapping.forward):
        raise ValueError(
            f"Expected a map whose fields are of one size. Received fields of shape "
            f"{np.shape(mapping.backward)} and {np.shape(mapping.forward)}."
        )
    for name in ("prealign", "codomain_grid2world", "domain_grid2world"):
        affine = getattr(mapping, name, None)
        if affine is not None:
            check_affine(affine, name=f"{name} of the map", ndim=ndim)


def mapping_to_displacement(mapping):
    """Return the displacement of a map in voxels, and that of its inverse.

    Parameters
    ----------
    mapping : dipy.align.imwarp.DiffeomorphicMap
        As :func:`displacement_to_mapping` or DIPY's SyN make it.

    Returns
    -------
    displacement, inverse : ndarray, float32, shape (*spatial, ndim)
        In voxels of the static grid, without the prealignment.

    Raises
    ------
    ValueError
        If the map is laid out otherwise.
    """
    check_mapping(mapping)
    return tuple(
        _in_voxels(field, mapping) for field in (mapping.backward, mapping.forward)
    )


def displacement_of(mapping):
    """Return the first of what :func:`mapping_to_displacement` does."""
    check_mapping(mapping)
    return _in_voxels(mapping.backward, mapping)


def _in_voxels(field, mapping):
    """Bring a field of a map from mm to voxels of the static grid."""
    if not mapping.is_inverse:
        raise ValueError(
            "Expected a map whose transform reads its backward field, as SyN returns "
            "it. Received one with is_inverse=False."
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
        As :func:`displacement_to_mapping` makes it.

    Returns
    -------
    inverse : dipy.align.imwarp.DiffeomorphicMap
        Laid out in the same way, with static and moving exchanged.

    Raises
    ------
    ValueError
        If it is no such map, or if a value of it is not finite.
    """
    check_mapping(mapping)
    ndim, moving_shape = mapping.dim, tuple(mapping.domain_shape)
    moving_affine = world_affine(mapping.domain_grid2world, ndim)
    static_affine = world_affine(mapping.codomain_grid2world, ndim)
    # DIPY's prealign goes from moving to static, as that of the inverse has to.
    to_static = world_affine(mapping.prealign, ndim)
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
    """Return the map of one slice in 3D that does what a 2D map does."""
    displacement, inverse = mapping_to_displacement(mapping)
    static_affine, moving_affine, to_static = (
        lift_affine(world_affine(affine, 2))
        for affine in (
            mapping.codomain_grid2world,
            mapping.domain_grid2world,
            mapping.prealign,
        )
    )
    return displacement_to_mapping(
        displacement,
        inverse=inverse,
        static_affine=static_affine,
        moving_shape=tuple(mapping.domain_shape),
        moving_affine=moving_affine,
        prealign=np.linalg.inv(to_static),
    )


def flatten_mapping(mapping):
    """Return the 2D map that does what a map of one slice in 3D does in its plane.

    Raises
    ------
    ValueError
        If there are more slices, or something moves across them.
    """
    displacement, inverse = mapping_to_displacement(mapping)
    if displacement.shape[2:] != (1, 3):
        raise ValueError(
            f"Expected a map of one slice. Received one of {displacement.shape[:-1]}."
        )
    if np.any(displacement[..., 2]) or np.any(inverse[..., 2]):
        raise ValueError("Expected a map that moves nothing across the slice.")
    static_affine, moving_affine, to_static = (
        plane_affine(world_affine(affine, 3))
        for affine in (
            mapping.codomain_grid2world,
            mapping.domain_grid2world,
            mapping.prealign,
        )
    )
    return displacement_to_mapping(
        displacement[:, :, 0, :2],
        inverse=inverse[:, :, 0, :2],
        static_affine=static_affine,
        moving_shape=tuple(mapping.domain_shape)[:2],
        moving_affine=moving_affine,
        prealign=np.linalg.inv(to_static),
    )


def _as_slice(field):
    """Give a field of two axes a third one, along which nothing moves."""
    return np.pad(field[:, :, None], [(0, 0)] * 3 + [(0, 1)])


def check_moving_shape(shape, default):
    """Return the size of a moving image as a tuple of int; by default the other one.

    Parameters
    ----------
    shape : sequence of int or None
    default : tuple of int
        As long as the size has to be.

    Raises
    ------
    ValueError
        If it is anything else.
    """
    if shape is None:
        return default
    sizes = np.asarray(shape)
    if sizes.shape != (len(default),) or sizes.dtype.kind not in "iu":
        raise ValueError(
            f"Expected moving_shape of {len(default)} integers. Received {shape!r}."
        )
    if sizes.min() < 1:
        raise ValueError(f"Expected moving_shape of 1 or more. Received {shape!r}.")
    return tuple(int(size) for size in sizes)
