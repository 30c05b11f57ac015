"""Bundles of streamlines of both images of a pair, in files."""

from dipy_nn_reg.io.points import TRACTOGRAMS, read_streamlines
from dipy_nn_reg.workflows.paths import paths_of_both


def find_bundles(static, moving, n):
    """Return the tractograms of both images for each of n pairs, or None for each.

    Parameters
    ----------
    static, moving, n
        As for :func:`~dipy_nn_reg.workflows.paths.paths_of_both`.

    Returns
    -------
    paths : list of tuple of Path, or list of None

    Raises
    ------
    ValueError
        As for ``paths_of_both``, and if a file is not a tractogram, by its name.
    """
    paths = paths_of_both("bundles", static, moving, n)
    for path in (path for both in paths if both for path in both):
        if path.suffix.lower() not in TRACTOGRAMS:
            raise ValueError(
                f"Expected bundles in files that end with {', '.join(TRACTOGRAMS)}. "
                f"Received {str(path)!r}."
            )
    return paths


def read_bundles(paths, static, moving):
    """Read the bundles of a pair.

    Parameters
    ----------
    paths : tuple of Path
        Tractograms of the static and the moving image.
    static, moving : dipy_nn_reg.io.nifti.Image

    Returns
    -------
    static, moving : dipy.tracking.streamline.Streamlines
        Points in world coordinates (mm).

    Raises
    ------
    FileNotFoundError, ValueError
        As :func:`~dipy_nn_reg.io.points.read_streamlines`, and if a bundle lies outside
        of its image.
    """
    bundles = []
    for path, image in zip(paths, (static, moving)):
        bundle = read_streamlines(path, image).streamlines
        if not image.grid.contains(bundle.get_data()).any():
            raise ValueError(
                f"Expected streamlines within the image {str(image.path)!r}. Received "
                f"{str(path)!r}, which lies outside of it."
            )
        bundles.append(bundle)
    return bundles
