"""Grids of voxels in world coordinates: a shape and an affine."""

from dataclasses import dataclass
from itertools import product

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_number, check_shape
from dipy_nn_reg.mapping.affines import check_affine, grid_points, world_affine

# Relative difference below which two voxel sizes count as equal.
_SAME_SIZE = 1e-3
# Ratio of the sides of a voxel from which slices count as thick.
_THICK = 2
# Largest number of voxels of a resampled grid: more do not fit in any memory.
_MAX_VOXELS = 2**36
# Fewest voxels along the longest axis of a grid that images are compared on: those of
# the smallest window of a loss.
FEWEST_VOXELS = 5


@dataclass(frozen=True, eq=False)
class Grid:
    """A grid of voxels in world coordinates.

    Parameters
    ----------
    shape : tuple of int
    affine : ndarray, shape (ndim + 1, ndim + 1)
        From voxels to world coordinates in mm.

    Raises
    ------
    ValueError
        If the shape is invalid, or the affine has another size or cannot be inverted.
    """

    shape: tuple
    affine: np.ndarray

    def __post_init__(self):
        shape = check_shape("shape", self.shape)
        affine = check_affine(self.affine, name="affine", ndim=len(shape))
        object.__setattr__(self, "shape", shape)
        object.__setattr__(self, "affine", affine)

    @property
    def ndim(self):
        """Number of axes."""
        return len(self.shape)

    @property
    def cubic_size(self):
        """Size in mm of cubic voxels of the same volume, if slices are thick; or None.

        Slices are thick if one side of a voxel is at least twice as long as another. A
        single slice has no thickness.
        """
        sizes = voxel_sizes(self.affine)[np.array(self.shape) > 1]
        if len(sizes) < 3 or sizes.max() < _THICK * sizes.min():
            return None
        return float(np.prod(sizes) ** (1 / 3))

    def points(self):
        """Return the world coordinates of all voxels: float64, shape (n, ndim)."""
        return grid_points(self.shape, self.affine)

    def box(self):
        """Return the lowest and the highest world coordinates of the voxels' corners.

        Returns
        -------
        box : ndarray, shape (2, ndim)
        """
        corners = np.array(list(product(*[(-0.5, size - 0.5) for size in self.shape])))
        world = apply_affine(self.affine, corners)
        return np.stack([world.min(0), world.max(0)])

    def contains(self, points):
        """Return which points lie within the voxels: bool, shape (n,).

        Parameters
        ----------
        points : ndarray, shape (n, ndim)
            World coordinates. Those that are not finite lie nowhere.
        """
        with np.errstate(invalid="ignore"):
            voxels = apply_affine(np.linalg.inv(self.affine), points)
        last = np.array(self.shape) - 0.5
        return np.all((voxels >= -0.5) & (voxels < last), axis=-1)

    def every(self, step):
        """Return the grid of every ``step``-th voxel along each axis."""
        shape = tuple(-(-size // step) for size in self.shape)
        return Grid(shape, self.affine @ np.diag([*[step] * self.ndim, 1]))

    def with_voxel_size(self, voxel_size, *, fewest=1):
        """Return a grid of other voxels over the same box.

        Parameters
        ----------
        voxel_size : float
            Voxel size in mm along each axis. Axes of size 1, as that across a slice,
            and axes that have voxels of this size do not change.
        fewest : int, optional
            Fewest voxels that are accepted along the longest axis.

        Returns
        -------
        grid : Grid

        Raises
        ------
        ValueError
            If the grid would have more than 2**36 voxels or too few, or if the size is
            not a positive number.
        """
        check_number("voxel_size", voxel_size)
        sizes, shape = voxel_sizes(self.affine), np.array(self.shape)
        factors = voxel_size / sizes
        factors[(np.abs(factors - 1) < _SAME_SIZE) | (shape == 1)] = 1
        # An excess of less than 1/1000 voxel is rounding and adds no voxel.
        new_shape = np.maximum(np.ceil(shape / factors - 1e-3), 1)
        if np.prod(new_shape) > _MAX_VOXELS:
            raise ValueError(
                f"Expected a voxel_size near those of the image, {sizes.tolist()} mm. "
                f"Received voxel_size={voxel_size}."
            )
        if new_shape.max() < fewest:
            bound = np.max(sizes * shape) / (fewest - 1)
            raise ValueError(
                f"Expected a voxel_size that leaves {fewest} voxels or more along the "
                f"longest axis, below {bound:.4g} mm. Received "
                f"voxel_size={voxel_size}."
            )
        new_shape = new_shape.astype(int)
        change = np.diag([*factors, 1])
        # The centres of both boxes coincide.
        change[:-1, -1] = (shape - 1) / 2 - factors * (new_shape - 1) / 2
        return Grid(tuple(int(n) for n in new_shape), self.affine @ change)


def static_grid(mapping):
    """Return the grid of the static image of a DIPY map."""
    affine = world_affine(mapping.codomain_grid2world, mapping.dim)
    return Grid(tuple(int(size) for size in mapping.codomain_shape), affine)


def moving_grid(mapping):
    """Return the grid of the moving image of a DIPY map."""
    affine = world_affine(mapping.domain_grid2world, mapping.dim)
    return Grid(tuple(int(size) for size in mapping.domain_shape), affine)


def prealign_of(mapping):
    """Return the prealignment of a DIPY map, from static to moving world coordinates.

    DIPY's ``mapping.prealign`` is the inverse: it goes from moving to static.
    """
    return np.linalg.inv(world_affine(mapping.prealign, mapping.dim))


def is_prealigned(mapping):
    """Return whether a DIPY map has a prealignment that moves anything."""
    return not np.allclose(prealign_of(mapping), np.eye(mapping.dim + 1))
