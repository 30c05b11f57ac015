"""Command that corrects the distortion of EPI by two images that show it reversed."""

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
from nibabel.affines import voxel_sizes
import numpy as np

from dipy_nn_reg.checks import check_number
from dipy_nn_reg.cohort.naming import prefixes_of_sets
from dipy_nn_reg.diffusion.correction import correct_distortion
from dipy_nn_reg.diffusion.distortion import (
    estimate_distortion,
    estimate_distortion_and_motion,
)
from dipy_nn_reg.diffusion.phase_encoding import to_hertz
from dipy_nn_reg.diffusion.structural import estimate_distortion_to
from dipy_nn_reg.io.atomic import whole_files
from dipy_nn_reg.io.gradients import B0_THRESHOLD
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.nifti_header import in_mm, nifti_header
from dipy_nn_reg.io.nifti_writing import check_image_name, write_image
from dipy_nn_reg.io.tables import read_numbers
from dipy_nn_reg.io.whole_images import load_header
from dipy_nn_reg.progress import progress_bar
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.encodings import (
    check_opposite,
    encoding_of,
    encoding_of_series,
)
from dipy_nn_reg.workflows.paths import (
    find_input,
    find_inputs,
    plan_outputs,
    with_prefix,
)
from dipy_nn_reg.workflows.series_bvecs import (
    beside,
    find_bvecs,
    read_bvecs_of,
    write_bvecs_after,
)


class UndistortFlow(Workflow):
    """Correct the distortion of EPI by a pair with opposite phase encoding."""

    @classmethod
    def get_short_name(cls):
        return "nn_reg_undistort"

    def run(
        self,
        up_file,
        down_file,
        series_files=None,
        direction=None,
        series_direction=None,
        bvecs=None,
        up_json=None,
        down_json=None,
        motion=False,
        structural=False,
        smoothness=1.0,
        out_dir="",
        out_fieldmap="fieldmap.nii.gz",
        out_hz="fieldmap_hz.nii.gz",
        out_undistorted="undistorted.nii.gz",
        out_bvecs="undistorted.bvec",
    ):
        """Correct the distortion of EPI by a pair with opposite phase encoding.

        The field that makes both images equal is estimated; it corrects them and series
        of the same session. All files are written, or none.

        Parameters
        ----------
        up_file : string or Path
            Path of an image, or of a series whose volumes have one contrast (b0), which
            are averaged.
        down_file : string or Path
            Path of the image, or series, with the opposite phase encoding. With
            --structural, path of an undistorted image.
        series_files : variable string, optional
            Paths of series or images on the same grid, to be corrected.
        direction : string, optional
            Phase encoding of up_file along the axes of the array, as BIDS names it:
            "i", "j" or "k", with a minus for the opposite direction ("j-"). By default
            that of the sidecars.
        series_direction : string, optional
            Phase encoding of all series. By default that of the sidecar of each; if
            there is none, that of up_file.
        bvecs : variable string, optional
            Paths of the b-vectors of series_files, one for each. By default the file
            beside each of the same name that ends with .bvec, if there is one.
        up_json : string or Path, optional
            Path of the sidecar of up_file. By default the file of the same name that
            ends with .json.
        down_json : string or Path, optional
            Path of the sidecar of down_file.
        motion : bool, optional
            Estimate a rigid motion between both images, of a few degrees and voxels.
            Results show the head where it is in up_file; series with the direction of
            down_file are taken to lie as that does: they are moved to it, and their
            b-vectors are turned.
        structural : bool, optional
            down_file is an undistorted image of any contrast (T1, T2), aligned and on
            the same grid, where there is no image with the opposite phase encoding.
            The field is several times less exact.
        smoothness : float, optional
            Factor of the smoothness of the field. Noisy images need more than 1.
        out_dir : string or Path, optional
            Output directory.
        out_fieldmap : string, optional
            Name of the field: displacement in voxels along the axis, of an image
            whose direction has no minus.
        out_hz : string, optional
            Name of the field in Hz, written if the sidecars have the readout time.
        out_undistorted : string, optional
            Name of the mean of both images, corrected. Names of series are prefixes of
            it.
        out_bvecs : string, optional
            Name of the b-vectors of each series, with the same prefix, if it has some:
            turned by --motion for series with the direction of down_file, and as they
            were for others.
        """
        pair = _find_pair(up_file, down_file)
        series = _find_series(series_files, series_direction)
        bvecs = find_bvecs(series, bvecs)
        check_number("smoothness", smoothness)
        for name in (out_fieldmap, out_hz, out_undistorted):
            check_image_name(name)
        if structural and (motion or down_json):
            raise ValueError(
                "Expected neither motion nor down_json with structural. Received "
                f"motion={motion} and down_json={down_json!r}."
            )
        up = encoding_of(pair[0], direction, up_json)
        if not structural:
            check_opposite(up, pair, direction, down_json)
        signs = [encoding_of_series(s, up, series_direction).sign for s in series]
        _check_grids([*pair, *series])
        vectors = [path and read_bvecs_of(s, path) for s, path in zip(series, bvecs)]
        names = {
            "out_fieldmap": out_fieldmap,
            "out_hz": out_hz,
            "out_undistorted": out_undistorted,
        }
        prefixes = prefixes_of_sets([series]) if series else []
        of_series = {f"out_{p}": with_prefix(p, out_undistorted) for p in prefixes}
        of_bvecs = {f"bvecs_{p}": with_prefix(p, out_bvecs) for p in prefixes}
        names |= of_series | of_bvecs
        kept = [*series, *filter(None, bvecs)]
        (outputs,) = plan_outputs(
            self, [[path] for path in pair], out_dir, names, kept=kept
        )
        with whole_files(outputs, optional=["out_hz", *of_bvecs]) as partials:
            options = {"smoothness": smoothness, "motion": motion}
            options["structural"] = structural
            image, field, moved = _correct_pair(pair, up, partials, **options)
            if up.readout:
                hertz = to_hertz(field, up.readout)
                _write(partials["out_hz"], hertz, image)
            todo = list(zip(series, signs, vectors, of_series, of_bvecs))
            for path, sign, own_vectors, *keys in progress_bar(todo, desc="Series"):
                one = read_image(path, series=True)
                options = {"axis": up.axis, "sign": sign}
                options["motion"] = None if sign == up.sign else moved
                data = correct_distortion(one.data, field, **options)
                out, out_vectors = (partials[key] for key in keys)
                _write(out, data, one)
                if own_vectors is not None:
                    write_bvecs_after(
                        options["motion"], out_vectors, own_vectors, one.affine
                    )
                elif options["motion"] is not None and data.ndim > 3:
                    logger.warning(
                        f"{printable(path)} was turned. No b-vectors were found that "
                        f"turn with it."
                    )
        for path in outputs.values():
            if path.exists():
                logger.info(f"Written: {printable(path)}")


def _find_pair(up_file, down_file):
    """Return the paths of two different images."""
    pair = [find_input("up_file", up_file), find_input("down_file", down_file)]
    if pair[0].samefile(pair[1]):
        raise ValueError(f"Expected two images. Received {printable(pair[0])} twice.")
    for path in pair:
        _check_unweighted(path)
    return pair


def _find_series(series_files, direction):
    """Return the paths of the series, which alone may have a direction."""
    if series_files:
        return find_inputs(series_files)
    if direction:
        raise ValueError(
            f"Expected series_files with series_direction. Received {direction!r} "
            f"alone."
        )
    return []


def _check_unweighted(path):
    """Raise ValueError for a DWI series, by the b-values beside it."""
    bvals = beside(path, ".bval")
    if bvals.is_file() and np.any(read_numbers(bvals, "b-values") > B0_THRESHOLD):
        raise ValueError(
            f"Expected volumes without weighting. Received {printable(path)}, which "
            f"{printable(bvals)} describes as a series. Give its b0 volumes as the "
            f"pair, and the series as series_files."
        )


def _check_grids(paths):
    """Raise ValueError unless all images are on the grid of the first one."""
    (shape, affine), *others = (_grid_of(path) for path in paths)
    for path, (other_shape, other_affine) in zip(paths[1:], others):
        same = other_shape == shape
        if not same or not np.allclose(other_affine, affine, atol=1e-3):
            raise ValueError(
                f"Expected images on the grid of {str(paths[0])!r}, of shape {shape}. "
                f"Received {str(path)!r} of shape {other_shape}"
                f"{', placed elsewhere' if same else ''}."
            )


def _grid_of(path):
    """Return the shape of an image and its affine in mm, by its header."""
    file = load_header(path)
    _, affine = in_mm(nifti_header(file, path), file.affine, path)
    return file.shape[:3], affine


def _correct_pair(paths, encoding, partials, *, smoothness, motion, structural):
    """Write the field of a pair and the mean of its images, corrected.

    Returns
    -------
    image : Image
        First image.
    field : ndarray
        That of an image of sign 1.
    motion : ndarray or None
        From voxels of the first image to those of the second one.
    """
    images = [read_image(path, series=True) for path in paths]
    means = [_mean(image.data) for image in images]
    axis, sign = encoding.axis, encoding.sign
    options = {"axis": axis, "smoothness": smoothness}
    if structural:
        field = sign * estimate_distortion_to(*means, **options)
        mean = correct_distortion(means[0], field, axis=axis, sign=sign)
        _write(partials["out_fieldmap"], field, images[0])
        _write(partials["out_undistorted"], mean, images[0])
        return images[0], field, None
    field, moved = _estimate(means, images[0], motion, options)
    field = sign * field
    first = correct_distortion(means[0], field, axis=axis, sign=sign)
    second = correct_distortion(means[1], field, axis=axis, sign=-sign, motion=moved)
    before, after = np.abs(means[0] - means[1]).mean(), np.abs(first - second).mean()
    logger.info(
        f"The images differ by {before:.3g} on average; corrected, by {after:.3g}."
    )
    _write(partials["out_fieldmap"], field, images[0])
    _write(partials["out_undistorted"], (first + second) / 2, images[0])
    return images[0], field, moved


def _estimate(means, image, motion, options):
    """Return the field of the first image, and the motion if it is asked for."""
    if not motion:
        return estimate_distortion(*means, **options), None
    sizes = voxel_sizes(image.affine)
    field, moved = estimate_distortion_and_motion(*means, voxel_sizes=sizes, **options)
    turned = np.diag(sizes) @ moved[:3, :3] @ np.diag(1 / sizes)
    angle = np.degrees(np.arccos(np.clip((np.trace(turned) - 1) / 2, -1, 1)))
    middle = np.append((np.array(means[0].shape) - 1) / 2, 1)
    shift = np.linalg.norm(sizes * (moved @ middle - middle)[:3])
    logger.info(f"The head turned by {angle:.2f} degrees and moved by {shift:.2f} mm.")
    return field, moved


def _mean(data):
    """Return the mean of the volumes of a series, in float32."""
    data = data if data.ndim == 4 else data[..., None]
    return data.mean(axis=-1, dtype=np.float64).astype(np.float32)


def _write(path, data, image):
    write_image(path, data, image.affine, header=image.header, series=image.header)
