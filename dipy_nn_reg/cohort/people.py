"""People of a template: who is left, their maps, and the steps of each of them."""

from dipy.utils.logging import logger
import numpy as np
from scipy.ndimage import map_coordinates

from dipy_nn_reg.cohort.averages import velocity_of_shape
from dipy_nn_reg.cohort.jobs import attempt, run_job
from dipy_nn_reg.intensities import normalize
from dipy_nn_reg.io.atomic import whole_file
from dipy_nn_reg.io.labels import read_labels_on, read_mask_on
from dipy_nn_reg.io.nifti import read_image
from dipy_nn_reg.io.points import read_map, write_map
from dipy_nn_reg.io.warped import write_warped
from dipy_nn_reg.mapping.grid import prealign_of
from dipy_nn_reg.mapping.maps import displacement_of, displacement_to_mapping
from dipy_nn_reg.mapping.resampling import warp_image
from dipy_nn_reg.mapping.slices import axis_across
from dipy_nn_reg.text import describe

FIELD, WARPED, VELOCITY = "field.nii.gz", "warped.nii.gz", "velocity.npy"


def register_person(job, options):
    """Register an image to a template, and write the velocity of its shape as well.

    Parameters
    ----------
    job : dipy_nn_reg.cohort.jobs.Job
        The velocity is written beside its ``out_field``.
    options : dict
        As :func:`~dipy_nn_reg.cohort.jobs.run_job` takes them.

    Returns
    -------
    row : dict
        As :func:`~dipy_nn_reg.cohort.jobs.run_job` returns it.
    """

    def write(job):
        template, moving = _images(job)
        field = job.outputs["out_field"]
        mapping = read_map(field, template, moving)
        _write_velocity(field.with_name(VELOCITY), mapping, template)
        return {}

    row = run_job(job, options)
    return row if row["status"] == "failed" else {**row, **attempt(job, write)}


def correct_map(job, correction):
    """Write the map from a corrected template to a person, and the warped image.

    Parameters
    ----------
    job : dipy_nn_reg.cohort.jobs.Job
        Its files are ``static``, the corrected template; ``moving``; and ``field``, the
        map from the template before. Its outputs are ``out_field``, ``out_warped`` and
        ``out_velocity``.
    correction : Path
        Displacement from the corrected template to the one before, as an array.

    Returns
    -------
    row : dict
        With ``status`` and, if need be, the ``error``.
    """

    def write(job):
        template, moving = _images(job)
        mapping = read_map(job.files["field"], template, moving)
        corrected = displacement_to_mapping(
            _composed(displacement_of(mapping), np.load(correction)),
            static_affine=template.affine,
            moving_shape=moving.grid.shape,
            moving_affine=moving.affine,
            prealign=prealign_of(mapping),
        )
        for path in job.outputs.values():
            path.parent.mkdir(parents=True, exist_ok=True)
        write_map(job.outputs["out_field"], corrected, template, moving, format="dipy")
        warped = warp_image(moving.in_colour, template, [corrected])
        write_warped(job.outputs["out_warped"], warped, moving, template)
        _write_velocity(job.outputs["out_velocity"], corrected, template)
        return {}

    return attempt(job, write)


def _composed(displacement, correction):
    """Return a displacement after a correction, mended where the result folds.

    It is read by cubic splines: linear interpolation would blur it, and cost 0.001 of
    the Dice of brains through the template.
    """
    from keras import ops

    from dipy_nn_reg.pairwise.unfolding import unfold_displacement

    positions = np.indices(correction.shape[:-1]) + np.moveaxis(correction, -1, 0)
    components = np.moveaxis(displacement, -1, 0)
    moved = [map_coordinates(c, positions, mode="nearest") for c in components]
    total = correction + np.stack(moved, axis=-1, dtype=np.float32)
    total = ops.convert_to_tensor(total[None], "float32")
    return ops.convert_to_numpy(unfold_displacement(total))[0]


def _images(job):
    return [read_image(job.files[name]) for name in ("static", "moving")]


def _write_velocity(path, mapping, template):
    with whole_file(path) as partial:
        np.save(partial, velocity_of_shape(mapping, template.grid))


class Maps:
    """Maps of people to a template, each of which is read when its turn comes."""

    def __init__(self, folder, template, people):
        self.folder, self.template, self.people = folder, template, people

    def __iter__(self):
        static = read_image(self.template)
        for one in self.people:
            yield read_map(self.file_of(one), static, read_image(one["moving"]))

    def velocities(self):
        """Yield the velocity of the shape of each person."""
        for one in self.people:
            yield np.load(self.file_of(one, VELOCITY))

    def file_of(self, one, name=FIELD):
        """Return the file with the map of a person, or another one beside it."""
        return self.folder / one["id"] / name


def readable(people, initial=None):
    """Return the people whose files can be read, images with contrast; say who is out.

    Parameters
    ----------
    people : list of dict
        As :class:`~dipy_nn_reg.cohort.rounds.Rounds` takes them.
    initial : Path, optional
        Image that the template begins with.

    Returns
    -------
    people : list of dict

    Raises
    ------
    ValueError
        If some images are slices and others are volumes, or if none can be read.
    """
    rows = {one["id"]: {"status": "done"} for one in people}
    shapes = {} if initial is None else {initial: read_image(initial).data.shape}
    for one in people:
        try:
            images = [read_image(path) for path in (one["moving"], *one["further"])]
            for image in images:
                _check_contrast(image.data)
            _check_annotations(one, images[0])
            shapes |= {image.path: image.data.shape for image in images}
        except (OSError, ValueError) as error:
            rows[one["id"]] = {"status": "failed", "error": describe(error)}
    _check_axes(shapes)
    return remaining(people, rows)


def _check_contrast(image):
    if image.shape.count(1) > 1 or not normalize(image).any():
        raise ValueError(
            f"Expected a slice or a volume with contrast. Received shape {image.shape} "
            f"and values from {image.min()} to {image.max()}."
        )


def _check_annotations(one, image):
    """Raise ValueError unless the mask and the labels of a person lie on the image."""
    for name, read in (("moving_mask", read_mask_on), ("labels", read_labels_on)):
        if name in one:
            read(one[name], image)


def _check_axes(shapes):
    """Raise ValueError unless all images are slices or all are volumes."""
    slices = {path: axis_across(shape) is not None for path, shape in shapes.items()}
    if len(set(slices.values())) > 1:
        kinds = {is_slice: path for path, is_slice in reversed(slices.items())}
        raise ValueError(
            f"Expected images in 2D alone, or in 3D alone. Received "
            f"{str(kinds[True])!r} of shape {shapes[kinds[True]]} and "
            f"{str(kinds[False])!r} of shape {shapes[kinds[False]]}."
        )


def remaining(people, rows):
    """Return the people whose images could be registered; say who could not."""
    for one in people:
        row = rows[one["id"]]
        if row["status"] != "done":
            logger.warning(f"Left out: {one['id']}: {row['error']}")
    left = [one for one in people if rows[one["id"]]["status"] == "done"]
    if not left:
        reason = rows[people[0]["id"]]["error"]
        raise ValueError(
            f"Expected images that can be registered. Received none: {reason}"
        )
    return left


def weights_of(people):
    """Return the weight of each person."""
    return [one["weight"] for one in people]
