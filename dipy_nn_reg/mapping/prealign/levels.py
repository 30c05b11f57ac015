"""Two images in a coarse resolution, as samples that an affine brings together."""

from functools import cached_property

from nibabel.affines import apply_affine, voxel_sizes
import numpy as np
from scipy.ndimage import center_of_mass, map_coordinates, uniform_filter
from scipy.optimize import minimize

from dipy_nn_reg.mapping.grid import Grid
from dipy_nn_reg.mapping.prealign.information import mutual_information, to_bins
from dipy_nn_reg.mapping.prealign.motions import Motion
from dipy_nn_reg.mapping.prealign.sampling import MovingImage
from dipy_nn_reg.mapping.regridding import labels_on_grid, read_on_grid

# Largest number of voxels of an image along an axis.
MAX_VOXELS = 128
# Fraction of a high percentile above which a voxel holds structure.
_STRUCTURE = 0.1
# Fraction of the structure on a face of the image from which the image counts as cut.
_CUT = 0.1


class CoarseImage:
    """An image on isotropic voxels, whose background is 0.

    Parameters
    ----------
    values : ndarray, shape (*spatial,)
    affine : ndarray, shape (ndim + 1, ndim + 1)
    mask : ndarray of bool, shape (*spatial,), optional
        Voxels that count.
    """

    def __init__(self, values, affine, mask=None):
        self.values, self.affine, self.mask = values, affine, mask

    def coarsened(self, size):
        """Return the image on voxels of a size in mm, or as it is if its are larger."""
        sizes = voxel_sizes(self.affine)
        size = max(size, min(sizes), max(sizes * self.values.shape) / MAX_VOXELS)
        grid = Grid(self.values.shape, self.affine).with_voxel_size(size)
        values, mask = read_on_grid(self.values, self.affine, [], grid), self.mask
        if mask is not None:
            mask = labels_on_grid(mask.astype(np.uint8), self.affine, [], grid)
        return CoarseImage(values, grid.affine, None if mask is None else mask > 0)

    @cached_property
    def structure(self):
        """Voxels that differ from the background; those of the mask only."""
        size = np.abs(self.values)
        structure = size > _STRUCTURE * np.percentile(size, 99)
        return structure if self.mask is None else structure & self.mask

    @cached_property
    def extent(self):
        """Largest length of the structure along an axis, in mm."""
        where = np.argwhere(self.structure)
        if not len(where):
            where = np.argwhere(np.ones(self.values.shape, bool))
        return float((voxel_sizes(self.affine) * (np.ptp(where, axis=0) + 1)).max())

    @cached_property
    def volume(self):
        """Volume of the structure in mm^3, or area of that of a slice in mm^2."""
        return float(self.structure.sum() * np.prod(voxel_sizes(self.affine)))

    @cached_property
    def is_cut(self):
        """Whether the structure continues beyond the image."""
        faces = [
            np.take(self.structure, end, axis=axis).mean()
            for axis, length in enumerate(self.values.shape)
            if length > 1
            for end in (0, -1)
        ]
        return max(faces) > _CUT

    @cached_property
    def center(self):
        """World coordinates of the centre of mass of the structure."""
        weights = np.abs(self.values) * self.structure
        if not weights.any():
            return self.middle
        return apply_affine(self.affine, center_of_mass(weights))

    @cached_property
    def middle(self):
        """World coordinates of the middle of the image."""
        return apply_affine(self.affine, (np.array(self.values.shape) - 1) / 2)


class Level:
    """Two images at one resolution, with samples of the static one.

    Parameters
    ----------
    moving, static : CoarseImage
    max_points : int
        Largest number of samples.
    """

    def __init__(self, moving, static, max_points):
        self.size = float(voxel_sizes(static.affine).min())
        bins, background = to_bins(moving.values, moving.structure)
        self._moving = MovingImage(bins, moving.affine, background)
        self._seen = None
        if moving.mask is not None or moving.is_cut:
            seen = np.ones(bins.shape) if moving.mask is None else moving.mask
            self._seen = MovingImage(seen, moving.affine, 0)
        bins, _ = to_bins(static.values, static.structure)
        near = uniform_filter(static.structure.astype(np.float32), 5) > 0
        near = np.flatnonzero(near if static.mask is None else near & static.mask)
        if not len(near):  # a constant image
            near = np.arange(static.values.size)
        rng = np.random.default_rng(0)
        if len(near) > max_points:
            near = np.sort(rng.choice(near, max_points, replace=False))
        voxels = np.stack(np.unravel_index(near, static.values.shape))
        # Samples lie anywhere between voxels: where they meet the voxels of the moving
        # image, it would be sharper, and the information lower, than elsewhere.
        voxels = voxels + rng.uniform(-0.5, 0.5, voxels.shape)
        self.points = apply_affine(static.affine, voxels.T).T
        # The same points about their centre, which float32 holds exactly enough.
        self._from_center = np.eye(len(voxels) + 1)
        self._from_center[:-1, -1] = self.points.mean(axis=1)
        around = self.points - self._from_center[:-1, -1:]
        self._around = np.vstack([around, np.ones(len(near))]).astype(np.float32)
        bins = map_coordinates(bins, voxels, order=1, mode="nearest")
        self._static = np.rint(bins).astype(np.intp)

    def information(self, affine, *, derivative=False):
        """Return the mutual information of the images that an affine aligns, in nats.

        Samples outside of a moving image that is cut, or outside of its mask, do not
        count, and lower the information by their number. Over one voxel at the border
        they count in part, so that the derivative is that of the information there.

        Parameters
        ----------
        affine : ndarray, shape (ndim + 1, ndim + 1)
            From static to moving world coordinates.
        derivative : bool, optional
            Return the derivative by the affine as well, shape (ndim, ndim + 1).
        """
        points, affine = self._around[:-1], affine @ self._from_center
        values, gradient = self._moving.sample(points, affine, derivatives=derivative)
        weights, factor = None, 1.0
        if self._seen is not None:
            weights, fading = self._seen.sample(points, affine, derivatives=derivative)
            factor = float(weights.mean())
        information, by_value, by_weight = mutual_information(
            self._static, values, weights, derivative=derivative
        )
        if not derivative:
            return factor * information
        forces = np.float32(factor * by_value) * gradient
        if weights is not None:
            by_weight = factor * by_weight + information / len(weights)
            forces += np.float32(by_weight) * fading
        by_affine = (forces @ self._around.T) @ self._from_center.T
        return factor * information, by_affine

    def ascend(self, start, kind, *, max_iterations, tolerance):
        """Return the affine of most information near a start, and the information.

        Parameters
        ----------
        start : ndarray, shape (ndim + 1, ndim + 1)
        kind : {"rigid", "similarity", "affine"}
        max_iterations : int
        tolerance : float
            Relative increase at which the ascent ends.
        """
        motion = Motion(kind, start, self.points)

        def negative(parameters):
            affine, chain = motion.at(parameters)
            value, by_affine = self.information(affine, derivative=True)
            return -value, -chain(by_affine)

        zeros = np.zeros(motion.size)
        first = negative(zeros)
        slope = np.linalg.norm(first[1])
        if not slope:
            return start, -first[0]
        # The first step of the optimiser is as long as the gradient: half a voxel.
        scale = self.size / 2 / slope

        def scaled(parameters):
            value, slopes = negative(parameters) if parameters.any() else first
            return scale * value, scale * slopes

        result = minimize(
            scaled,
            zeros,
            jac=True,
            method="L-BFGS-B",
            options={"maxiter": max_iterations, "ftol": tolerance, "gtol": 0},
        )
        return motion.at(result.x)[0], -result.fun / scale
