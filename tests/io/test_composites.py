"""Composite transforms of ITK in HDF5, against SimpleITK, ANTsPy and nitransforms."""

import ants
import h5py
import nibabel as nib
from nitransforms.manip import TransformChain
import numpy as np
import numpy.testing as npt
import pandas as pd
import pytest
import SimpleITK as sitk

from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping.affines import grid_points
from dipy_nn_reg.mapping.maps import displacement_to_mapping, lift_mapping

SHAPE, MOVING_SHAPE = (9, 8, 7), (10, 11, 6)
COMPOSITE = "TransformGroup/0/TransformType"


def lps(points):
    return points * np.array([-1, -1, 1])[: points.shape[-1]]


def by_simpleitk(path, points):
    transform = sitk.ReadTransform(str(path))
    return lps(np.array([transform.TransformPoint(p) for p in lps(points).tolist()]))


def by_ants(path, points):
    table = pd.DataFrame(lps(points), columns=list("xyz")[: points.shape[1]])
    moved = ants.apply_transforms_to_points(points.shape[1], table, [str(path)])
    return lps(moved.to_numpy())


def by_nitransforms(path, points):
    return TransformChain.from_filename(path, fmt="itk").map(points)


PROGRAMS = {
    "simpleitk": by_simpleitk,
    "ants": by_ants,
    "nitransforms": by_nitransforms,
}


def expected_points(mapping, points):
    return np.asarray(mapping.transform_points(points))


@pytest.mark.parametrize("program", PROGRAMS)
@pytest.mark.parametrize("prealigned", [False, True])
@pytest.mark.parametrize("shear", [0, 0.2])
def test_programs_read_our_composites(shear, prealigned, program, scene, tmp_path):
    """Grids are oblique, anisotropic and flipped; ITK takes sheared ones as well."""
    pair = scene(3, prealigned, shear=shear)
    mapping, path = pair.make_mapping(), tmp_path / "field.h5"
    save_mapping(path, mapping, format="itk_h5")
    points = grid_points(pair.field.shape[:-1], pair.static_affine)[::37]
    moved = PROGRAMS[program](path, points)
    npt.assert_allclose(moved, expected_points(mapping, points), atol=1e-4)


@pytest.mark.parametrize("program", ["simpleitk", "ants"])
def test_programs_agree_between_voxels(program, scene, rng, tmp_path):
    pair = scene(3, True)
    mapping, path = pair.make_mapping(), tmp_path / "field.h5"
    save_mapping(path, mapping, format="itk_h5")
    voxels = rng.uniform(1, np.array(pair.field.shape[:-1]) - 2, (50, 3))
    points = nib.affines.apply_affine(pair.static_affine, voxels)
    moved = PROGRAMS[program](path, points)
    npt.assert_allclose(moved, expected_points(mapping, points), atol=1e-3)


@pytest.mark.parametrize("program", ["simpleitk", "ants"])
@pytest.mark.parametrize("axes", [2, "slice"])
def test_programs_read_composites_of_slices(axes, program, scene, tmp_path):
    pair = scene(2, True)
    mapping, path = pair.make_mapping(), tmp_path / "field.h5"
    points = grid_points(pair.field.shape[:-1], pair.static_affine)[::37]
    if axes == "slice":
        mapping = lift_mapping(mapping)
        points = np.pad(points, [(0, 0), (0, 1)])
    save_mapping(path, mapping, format="itk_h5")
    moved = PROGRAMS[program](path, points)
    npt.assert_allclose(moved, expected_points(mapping, points), atol=1e-4)


def test_a_map_keeps_its_parts(pair, tmp_path):
    """Prealignment and displacement are those of the map, and not fitted again."""
    mapping, path = pair.make_mapping(), tmp_path / "field.h5"
    save_mapping(path, mapping, format="itk_h5")
    for options in ({}, {"format": "itk_h5"}, {"moving_shape": (3,) * mapping.dim}):
        again = load_mapping(path, **options)
        npt.assert_allclose(again.backward, mapping.backward, atol=1e-6)
        npt.assert_allclose(again.prealign, mapping.prealign, atol=1e-12)
        for name in ("codomain", "domain"):
            at = f"{name}_grid2world"
            npt.assert_allclose(getattr(again, at), getattr(mapping, at), atol=1e-12)
            shape = f"{name}_shape"
            npt.assert_array_equal(getattr(again, shape), getattr(mapping, shape))
    with h5py.File(path) as file:
        kinds = [str(g["TransformType"][0]) for g in file["TransformGroup"].values()]
    assert len(kinds) == (2 if pair.prealign is None else 3)


def test_a_field_takes_less_room_than_its_numbers(scene, tmp_path):
    pair = scene(3, False)
    save_mapping(tmp_path / "field.h5", pair.make_mapping(), format="itk_h5")
    assert (tmp_path / "field.h5").stat().st_size < pair.field.nbytes


def sitk_field(rng, *, shape=SHAPE, turn=(0.2, -0.3, 0.1), largest=1.5):
    """Return a rough field of SimpleITK on an oblique, flipped grid; and its affine."""
    ndim = len(shape)
    values = rng.uniform(-largest, largest, (*shape[::-1], ndim))
    image = sitk.GetImageFromArray(values, isVector=True)
    image.SetSpacing([1.5, 2.0, 2.5][:ndim])
    image.SetOrigin([-4.0, 5, 6][:ndim])
    rotation = sitk.Euler3DTransform([0] * 3, *turn) if ndim == 3 else None
    if rotation:
        flipped = np.reshape(rotation.GetMatrix(), (3, 3)) @ np.diag([1, -1, 1])
        image.SetDirection(flipped.ravel().tolist())
    direction = np.reshape(image.GetDirection(), (ndim, ndim))
    affine = np.eye(ndim + 1)
    affine[:-1, :-1] = direction * image.GetSpacing()
    affine[:-1, -1] = image.GetOrigin()
    affine[:2] *= -1
    return sitk.DisplacementFieldTransform(image), affine


def euler(*angles, translation=(1.0, -2, 0.5)):
    return sitk.Euler3DTransform([5.0, 4, -3], *angles, translation)


def write(path, *transforms):
    sitk.WriteTransform(sitk.CompositeTransform(list(transforms)), str(path))
    return path


def rename(path, old, new):
    """Rename all datasets of a name."""
    with h5py.File(path, "a") as file:
        for group in file["TransformGroup"].values():
            if old in group:
                group.move(old, new)


def to_single(path):
    """Store the numbers of all transforms as ANTs does with --float."""
    with h5py.File(path, "a") as file:
        for name, group in file["TransformGroup"].items():
            kind = group["TransformType"][0].decode().replace("double", "float")
            type_of(name, kind)(file)
            if "TransformParameters" in group:
                numbers = group["TransformParameters"][()].astype(np.float32)
                replace(f"{group.name}/TransformParameters", numbers)(file)


@pytest.mark.parametrize("single", [False, True])
@pytest.mark.parametrize("spelling", ["Transform", "Tranform"])
def test_composites_of_simpleitk_are_read(spelling, single, rng, tmp_path):
    """Before ITK 5, names of datasets were misspelt, as in fMRIPrep's files."""
    field, affine = sitk_field(rng)
    path = write(tmp_path / "composite.h5", euler(0.1, 0.2, -0.1), field)
    points = grid_points(SHAPE, affine)
    expected = by_simpleitk(path, points)
    if single:
        to_single(path)
        npt.assert_allclose(by_simpleitk(path, points), expected, atol=1e-4)
    for name in ("Parameters", "FixedParameters"):
        rename(path, f"Transform{name}", spelling + name)
    grid = {"moving_shape": MOVING_SHAPE, "moving_affine": np.diag([2.0, 3, 4, 1])}
    mapping = load_mapping(path, **grid)
    npt.assert_allclose(mapping.codomain_grid2world, affine, atol=1e-12)
    npt.assert_allclose(mapping.transform_points(points), expected, atol=1e-4)
    npt.assert_array_equal(mapping.domain_grid2world, grid["moving_affine"])
    assert tuple(mapping.domain_shape) == MOVING_SHAPE
    matrix = np.reshape(euler(0.1, 0.2, -0.1).GetMatrix(), (3, 3))
    turn = np.diag([-1, -1, 1])
    prealign = np.linalg.inv(mapping.prealign)[:3, :3]
    npt.assert_allclose(prealign, turn @ matrix @ turn, atol=1e-7 if single else 1e-12)


SEQUENCES = {
    "a field alone": "D",
    "a field last": "DA",
    "a field between": "ADAA",
    "affines that come first": "DAA",
    "two fields": "ADAD",
    "three fields": "DDAD",
}


@pytest.mark.parametrize("sequence", SEQUENCES.values(), ids=SEQUENCES)
def test_sequences_of_transforms_are_composed(sequence, rng, tmp_path):
    """Also where points leave the grid of a field, which does not move them there."""
    transforms = []
    for i, letter in enumerate(sequence):
        turn = rng.uniform(-0.3, 0.3, 3).tolist()
        shape = tuple(size + i for size in SHAPE)
        field = sitk_field(rng, shape=shape, turn=turn)[0]
        transforms.append(euler(*turn) if letter == "A" else field)
    path = write(tmp_path / "composite.h5", *transforms)
    mapping = load_mapping(path)
    points = grid_points(mapping.codomain_shape, mapping.codomain_grid2world)
    moved = mapping.transform_points(points)
    npt.assert_allclose(moved, by_simpleitk(path, points), atol=1e-4)


def test_the_user_may_choose_another_prealignment(rng, tmp_path):
    field, affine = sitk_field(rng)
    path = write(tmp_path / "composite.h5", euler(0.1, 0.2, -0.1), field)
    points = grid_points(SHAPE, affine)
    mapping = load_mapping(path, prealign=np.eye(4))
    npt.assert_array_equal(mapping.prealign, np.eye(4))
    npt.assert_allclose(
        mapping.transform_points(points), by_simpleitk(path, points), atol=1e-4
    )


def test_a_single_field_is_read(rng, tmp_path):
    field, affine = sitk_field(rng, shape=(8, 9))
    path = tmp_path / "field.h5"
    sitk.WriteTransform(field, str(path))
    mapping, points = load_mapping(path), grid_points((8, 9), affine)
    npt.assert_allclose(
        mapping.transform_points(points), by_simpleitk(path, points), atol=1e-4
    )


@pytest.mark.parametrize("smoothed_by", ["BSpline", "Gaussian"])
def test_fields_that_ants_smoothed_are_read(smoothed_by, rng, tmp_path):
    field, affine = sitk_field(rng)
    path = write(tmp_path / "composite.h5", euler(0.1, 0.2, -0.1), field)
    kind = f"{smoothed_by}SmoothingOnUpdateDisplacementFieldTransform_double_3_3"
    with h5py.File(path, "a") as file:
        type_of(2, kind)(file)
    points = grid_points(SHAPE, affine)
    npt.assert_allclose(
        load_mapping(path).transform_points(points),
        by_simpleitk(path, points),
        atol=1e-4,
    )


def test_composites_of_two_axes_are_read(rng, tmp_path):
    field, affine = sitk_field(rng, shape=(8, 9))
    turn = sitk.Euler2DTransform([3.0, 4], 0.2, [1.0, -2])
    path = write(tmp_path / "composite.h5", turn, field)
    mapping = load_mapping(path, moving_affine=np.diag([2.0, 3, 4, 1]))
    points = grid_points((8, 9), affine)
    npt.assert_allclose(
        mapping.transform_points(points), by_simpleitk(path, points), atol=1e-4
    )
    npt.assert_array_equal(mapping.domain_grid2world, np.diag([2.0, 3, 1]))


@pytest.mark.parametrize("direction", ["fwdtransforms", "invtransforms"])
def test_composites_of_ants_are_read(direction, scene, tmp_path):
    """Ours are as antsRegistration writes them, for images that it registers."""
    pair = scene(3, True, shear=0)
    paths = [str(tmp_path / f"{name}.nii.gz") for name in ("static", "moving")]
    warped = pair.make_mapping().transform(pair.moving)
    for path, data, affine in (
        (paths[0], warped, pair.static_affine),
        (paths[1], pair.moving, pair.moving_affine),
    ):
        nib.save(nib.Nifti1Image(data.astype(np.float32), affine), path)
    images = [ants.image_read(path) for path in paths]
    options = {"type_of_transform": "SyN", "write_composite_transform": True}
    options |= {"outprefix": str(tmp_path / "ants"), "reg_iterations": (9, 5)}
    options["random_seed"] = 1
    path = ants.registration(*images, **options)[direction]
    mapping = load_mapping(path)
    points = grid_points(mapping.codomain_shape, mapping.codomain_grid2world)[::7]
    npt.assert_allclose(
        mapping.transform_points(points), by_ants(path, points), atol=1e-3
    )
    if direction == "fwdtransforms":
        npt.assert_allclose(mapping.codomain_grid2world, pair.static_affine, atol=1e-4)


def damage(path, change):
    with h5py.File(path, "a") as file:
        change(file)


def replace(name, value):
    def change(file):
        del file[name]
        file[name] = value

    return change


PARAMETERS = "TransformGroup/2/TransformParameters"
FIXED = "TransformGroup/2/TransformFixedParameters"
N = 3 * 9 * 8 * 7
GRID = [9.0, 8, 7, 0, 0, 0, 1, 1, 1, 1, 0, 0, 0, 1, 0, 0, 0, 1]


def fixed(**values):
    changed = list(GRID)
    for index, value in values.items():
        changed[int(index[1:])] = float(value)
    return replace(FIXED, changed)


def type_of(i, kind):
    return replace(f"TransformGroup/{i}/TransformType", [kind.encode()])


def link_elsewhere(file):
    del file["TransformGroup/2/TransformParameters"]
    file[PARAMETERS] = h5py.ExternalLink("other.h5", "values")


DAMAGES = {
    "Keras": (lambda f: f.move("TransformGroup", "model_weights"), "TransformGroup"),
    "group": (replace("TransformGroup", np.zeros(3)), "TransformGroup"),
    "empty": (replace(PARAMETERS, np.zeros(0)), "numbers"),
    "cut": (replace(PARAMETERS, np.zeros(N - 3)), f"{N} numbers.*{N - 3}"),
    "shape": (replace(PARAMETERS, np.zeros((N, 1))), "numbers"),
    "integers": (replace(PARAMETERS, np.zeros(N, int)), "numbers"),
    "NaN": (replace(PARAMETERS, np.full(N, np.nan)), "finite"),
    "infinite": (replace(PARAMETERS, np.r_[np.inf, np.zeros(N - 1)]), "finite"),
    "size": (fixed(_0=9.5), "size"),
    "no size": (fixed(_0=0), "size"),
    "negative size": (fixed(_0=-9, _1=-8), "size"),
    "huge size": (fixed(_0=1e30), "size"),
    "spacing": (fixed(_6=0), "inverted"),
    "NaN spacing": (fixed(_6=np.nan), "finite"),
    "direction": (fixed(_17=0), "inverted"),
    "grid": (replace(FIXED, GRID[:-1]), "18 numbers.*17"),
    "link": (link_elsewhere, "TransformParameters"),
    "missing": (lambda f: f.move(PARAMETERS, "elsewhere"), "TransformParameters"),
    "numbering": (lambda f: f.move("TransformGroup/1", "TransformGroup/7"), "number"),
    "name": (lambda f: f.move("TransformGroup/1", "TransformGroup/a"), "number"),
    "no type": (lambda f: f.move(COMPOSITE, "elsewhere"), "TransformType"),
    "number as type": (replace(COMPOSITE, 5.0), "TransformType"),
    "odd type": (type_of(2, "Transform"), "'Transform'"),
    "spline": (type_of(2, "BSplineTransform_double_3_3"), "BSplineTransform"),
    "velocity": (type_of(2, "ConstantVelocityFieldTransform_float_3_3"), "Velocity"),
    "projection": (type_of(2, "DisplacementFieldTransform_double_3_2"), "3_2"),
    "axes": (type_of(1, "AffineTransform_double_2_2"), "axes"),
    "4D": (type_of(2, "DisplacementFieldTransform_double_4_4"), "4_4"),
    "no composite": (type_of(0, "AffineTransform_double_3_3"), "CompositeTransform"),
    "nested": (type_of(1, "CompositeTransform_double_3_3"), "CompositeTransform"),
    "singular": (replace("TransformGroup/1/TransformParameters", [0.0] * 12), "invert"),
    "NaN affine": (
        replace("TransformGroup/1/TransformParameters", [np.nan] * 12),
        "finite",
    ),
}


@pytest.mark.parametrize(("change", "message"), DAMAGES.values(), ids=DAMAGES)
def test_a_damaged_file_is_refused_by_name(change, message, tmp_path):
    mapping = displacement_to_mapping(
        np.zeros((*SHAPE, 3), np.float32), prealign=np.diag([2.0, 1, 1, 1])
    )
    path = tmp_path / "field.h5"
    save_mapping(path, mapping, format="itk_h5")
    damage(path, change)
    with pytest.raises(ValueError, match=f"^Expected.*field.h5.*{message}"):
        load_mapping(path)


@pytest.mark.parametrize("length", [0, 7, 600, -50])
def test_a_file_that_is_cut_short_is_refused(length, tmp_path):
    path = tmp_path / "field.h5"
    save_mapping(path, displacement_to_mapping(np.zeros((*SHAPE, 3))), format="itk_h5")
    path.write_bytes(path.read_bytes()[:length])
    with pytest.raises(ValueError, match="Expected.*field.h5"):
        load_mapping(path)


def test_data_that_are_cut_off_are_refused(tmp_path):
    """A chunk whose bytes are damaged cannot be decompressed."""
    path = tmp_path / "field.h5"
    field = np.random.default_rng(0).normal(0, 0.1, (*SHAPE, 3))
    save_mapping(path, displacement_to_mapping(field), format="itk_h5")
    with h5py.File(path) as file:
        dataset = file["TransformGroup/1/TransformParameters"]
        chunk = dataset.id.get_chunk_info(0)
    content = bytearray(path.read_bytes())
    start = chunk.byte_offset + chunk.size // 2
    content[start : start + 90] = bytes(90)
    path.write_bytes(content)
    with pytest.raises(ValueError, match="Expected.*field.h5"):
        load_mapping(path)


def test_a_file_that_declares_more_than_it_holds_is_refused(tmp_path):
    path = tmp_path / "field.h5"
    save_mapping(path, displacement_to_mapping(np.zeros((*SHAPE, 3))), format="itk_h5")
    with h5py.File(path, "a") as file:
        group = file["TransformGroup/1"]
        del group["TransformParameters"]
        options = {"dtype": "f4", "chunks": (999,), "compression": "gzip"}
        group.create_dataset("TransformParameters", (3 * 40000**3,), **options)
        grid = np.array(GRID)
        grid[:3] = 40000
        group["TransformFixedParameters"][:] = grid
    with pytest.raises(ValueError, match="Expected.*field.h5.*declares"):
        load_mapping(path)


def test_a_composite_without_a_field_names_the_alternative(tmp_path):
    path = write(tmp_path / "affine.h5", euler(0.1, 0.2, 0.3))
    with pytest.raises(ValueError, match="Expected.*no field in.*affine.h5.*[.]txt"):
        load_mapping(path)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("{", "JSON|Expecting"),
        ('{"dipy_nn_reg": {}}', "lacks"),
        ('{"dipy_nn_reg": 3}', "object"),
        (None, "axes"),
    ],
)
def test_an_invalid_moving_grid_is_refused(text, message, tmp_path):
    path = tmp_path / "field.h5"
    save_mapping(path, displacement_to_mapping(np.zeros((*SHAPE, 3))), format="itk_h5")
    other = tmp_path / "other.h5"
    flat = displacement_to_mapping(np.zeros((*SHAPE[:2], 2)))
    save_mapping(other, flat, format="itk_h5")
    with h5py.File(path, "a") as file, h5py.File(other) as two:
        file.attrs["dipy_nn_reg"] = text or two.attrs["dipy_nn_reg"]
    with pytest.raises(ValueError, match=message) as caught:
        load_mapping(path)
    assert "field.h5" in str(caught.value)


def test_a_file_must_exist_and_have_the_ending(tmp_path):
    with pytest.raises(FileNotFoundError, match="field.h5"):
        load_mapping(tmp_path / "field.h5")
    mapping = displacement_to_mapping(np.zeros((*SHAPE, 3)))
    for name, format in (("field.nii.gz", "itk_h5"), ("field.h5", "itk")):
        with pytest.raises(ValueError, match=f"Expected path to end.*{name}"):
            save_mapping(tmp_path / name, mapping, format=format)
    save_mapping(tmp_path / "field.h5", mapping, format="itk_h5")
    with pytest.raises(ValueError, match="format 'itk'.*field.h5"):
        load_mapping(tmp_path / "field.h5", format="itk")
    with pytest.raises(ValueError, match="no positions of FSL"):
        load_mapping(tmp_path / "field.h5", absolute=True)
    assert [path.name for path in tmp_path.iterdir()] == ["field.h5"]
