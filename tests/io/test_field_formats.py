"""Fields of other programs: what their headers say, against closed forms and fslpy."""

import json

import ants
from fsl.data.image import Image as FslImage
from fsl.transform.fnirt import readFnirt
import nibabel as nib
from nibabel.affines import apply_affine
import numpy as np
import numpy.testing as npt
import pytest
import SimpleITK as sitk

from dipy_nn_reg.io.fields import load_mapping, save_mapping
from dipy_nn_reg.mapping.maps import (
    displacement_to_mapping,
    flatten_mapping,
    grid_points,
    lift_mapping,
    mapping_to_displacement,
)

SHAPE, MOVING_SHAPE = (9, 8, 7), (10, 11, 6)


@pytest.fixture(params=[-1, 1], ids=["radiological", "neurological"])
def grids(request):
    """Return affines of a static and a moving image."""
    static = np.diag([request.param * 2.0, 2, 3, 1])
    static[:3, 3] = [7 * request.param, -9, 4]
    moving = np.diag([1.5, 2.5, 3.5, 1])
    moving[:3, 3] = [-6, -8, 3]
    return static, moving


def known(points):
    """Return where a point goes: smooth, and mostly affine."""
    return points * [1.02, 0.97, 1.01] + [0.4, -0.5, 0.3] + 0.2 * np.sin(points / 5)


def save(path, values, affine, *, intent=0, name="", p1=0.0, zooms=None, unit="mm"):
    image = nib.Nifti1Image(values.astype(np.float32), affine)
    image.set_sform(affine, 2)
    image.header.set_intent(intent, name=name, allow_unknown=True)
    image.header["intent_p1"] = p1
    image.header.set_xyzt_units(unit)
    if zooms is not None:
        image.header["pixdim"][1:4] = zooms
    nib.save(image, path)
    return path


def check(mapping, affine, *, atol=1e-3):
    points = grid_points(SHAPE, affine)
    npt.assert_allclose(mapping.transform_points(points), known(points), atol=atol)
    inner = points[np.all(np.abs(points - points.mean(0)) < 4, axis=1)]
    back = mapping.transform_points_inverse(known(inner))
    npt.assert_allclose(back, inner, atol=0.02)


POSITIONS = [
    {"intent": 1007, "name": "Mapping"},  # SPM
    {"intent": 1007, "name": "NREG_TRANS", "p1": 0},  # NiftyReg
    {"intent": 0},  # as the values look
    {"intent": 1007},
]


@pytest.mark.parametrize("header", POSITIONS)
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("micron", 1e-3)])
def test_positions_are_distinguished_from_displacements(
    header, unit, mm, grids, tmp_path
):
    points = grid_points(SHAPE, grids[0])
    values = known(points).reshape(*SHAPE, 1, 3) / mm
    affine = np.diag([1 / mm] * 3 + [1]) @ grids[0]
    path = save(tmp_path / "y_field.nii", values, affine, unit=unit, **header)
    check(load_mapping(path), grids[0])


def test_positions_of_mrtrix_are_read(grids, tmp_path):
    values = known(grid_points(SHAPE, grids[0])).reshape(*SHAPE, 3)
    check(load_mapping(save(tmp_path / "warp.nii", values, grids[0])), grids[0])


def test_displacements_of_niftyreg_are_in_ras(grids, tmp_path):
    points = grid_points(SHAPE, grids[0])
    values = (known(points) - points).reshape(*SHAPE, 1, 3)
    header = {"intent": 1007, "name": "NREG_TRANS", "p1": 1}
    check(
        load_mapping(save(tmp_path / "disp.nii", values, grids[0], **header)), grids[0]
    )


@pytest.mark.parametrize("header", [{"intent": 0}, {"intent": 1006}, {"intent": 1007}])
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("micron", 1e-3)])
def test_displacements_of_itk_are_in_mm(header, unit, mm, grids, tmp_path):
    """SimpleITK reads the same file."""
    points = grid_points(SHAPE, grids[0])
    # NIfTI's displacements are in RAS+, and ITK turns them round as it reads them.
    axes = [1, 1, 1] if header["intent"] == 1006 else [-1, -1, 1]
    values = ((known(points) - points) * axes).reshape(*SHAPE, 1, 3)
    affine = np.diag([1 / mm] * 3 + [1]) @ grids[0]
    path = save(tmp_path / "field.nii", values, affine, unit=unit, **header)
    check(load_mapping(path), grids[0])
    if not header["intent"]:
        return  # five axes to SimpleITK
    field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    turn = np.array([-1, -1, 1])
    found = [turn * transform.TransformPoint(turn * point) for point in points[::50]]
    npt.assert_allclose(found, known(points[::50]), atol=1e-3)


@pytest.mark.parametrize(
    ("header", "message"),
    [
        ({"intent": 2007}, "coefficients of FNIRT's cubic.*fnirtfileutils"),
        ({"intent": 2008}, "coefficients"),
        ({"intent": 2009}, "coefficients"),
        ({"intent": 2016}, "TOPUP"),
        ({"intent": 2018}, "2018"),
        ({"intent": 1002}, "something else"),
        ({"intent": 1005, "name": "DTI"}, r"1005 \(DTI\)"),
        *[
            ({"intent": 1007, "name": "NREG_TRANS", "p1": kind}, "NiftyReg")
            for kind in (2, 3, 4, 5, 6, np.nan)
        ],
    ],
)
@pytest.mark.parametrize("axes", [(3,), (1, 3)])
def test_intents_of_other_data_are_refused(header, message, axes, tmp_path):
    path = save(tmp_path / "f.nii", np.zeros((*SHAPE, *axes)), np.eye(4), **header)
    with pytest.raises(ValueError, match=message):
        load_mapping(path, moving_shape=SHAPE, moving_affine=np.eye(4))


def fsl_warp(folder, grids, zooms, *, absolute, intent=2006):
    """Write images and a warp between them, made by fslpy's own coordinates."""
    images = [
        FslImage(str(save(folder / f"{name}.nii", np.zeros(shape), affine, zooms=z)))
        for name, shape, affine, z in zip(
            ("static", "moving"), (SHAPE, MOVING_SHAPE), grids, zooms
        )
    ]
    points = grid_points(SHAPE, grids[0])
    at = apply_affine(images[1].getAffine("world", "fsl"), known(points))
    start = apply_affine(images[0].getAffine("world", "fsl"), points)
    values = (at if absolute else at - start).reshape(*SHAPE, 3)
    path = folder / "warp.nii"
    save(path, values, grids[0], zooms=zooms[0], intent=intent)
    return path, images


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("told", [False, True])
@pytest.mark.parametrize("zooms", [(None, None), ([1.8, 2, 3.3], [1.4, 2, 3])])
def test_warps_of_fsl_are_measured_by_pixdim(absolute, told, zooms, grids, tmp_path):
    path, images = fsl_warp(tmp_path, grids, zooms, absolute=absolute)
    mapping = load_mapping(
        path,
        moving_shape=MOVING_SHAPE,
        moving_affine=grids[1],
        moving_zooms=images[1].pixdim,
        absolute=absolute if told else None,
    )
    check(mapping, grids[0], atol=2e-3)
    field = readFnirt(str(path), images[1], images[0])  # by its own guess
    points = grid_points(SHAPE, grids[0])
    found = field.transform(points, from_="world", to="world")
    npt.assert_allclose(found, known(points), atol=2e-3)


@pytest.mark.parametrize("zooms", [([1.8, 2, 3.3], [1.4, 2, 3])])
def test_fslpy_reads_our_field_with_another_pixdim(zooms, grids, tmp_path):
    path, images = fsl_warp(tmp_path, grids, zooms, absolute=False)
    options = {"moving_shape": MOVING_SHAPE, "moving_affine": grids[1]}
    mapping = load_mapping(path, moving_zooms=zooms[1], **options)
    ours = tmp_path / "ours.nii.gz"
    save_mapping(
        ours, mapping, format="fsl", static_zooms=zooms[0], moving_zooms=zooms[1]
    )
    field = readFnirt(str(ours), images[1], images[0], defType="relative")
    points = grid_points(SHAPE, grids[0])
    found = field.transform(points, from_="world", to="world")
    npt.assert_allclose(found, known(points), atol=2e-3)
    check(load_mapping(ours), grids[0], atol=2e-3)


def test_the_option_absolute_overrides_the_values(grids, tmp_path):
    """Where everything moves to one side, its values do not tell."""
    path, _ = fsl_warp(tmp_path, grids, (None, None), absolute=False)
    options = {"moving_shape": MOVING_SHAPE, "moving_affine": grids[1]}
    points = grid_points(SHAPE, grids[0])
    said = load_mapping(path, absolute=True, **options).transform_points(points)
    assert np.abs(said - known(points)).max() > 1
    with pytest.raises(ValueError, match="a warp of FSL with absolute=True"):
        save_mapping(tmp_path / "ours.nii", load_mapping(path, **options), format="fsl")
        load_mapping(tmp_path / "ours.nii", absolute=True)


def test_a_series_of_three_volumes_is_refused(rng, tmp_path, dipy_log):
    series = rng.random((*SHAPE, 3)) * 100
    path = save(tmp_path / "bold.nii", series, np.diag([2, 2, 2, 1]))
    options = {"moving_shape": SHAPE, "moving_affine": np.eye(4)}
    with pytest.raises(ValueError, match="does not say that it is one.*would fold"):
        load_mapping(path, **options)
    load_mapping(save(path, 0 * series, np.diag([2, 2, 2, 1])), **options)
    assert "does not say that it is a field" in dipy_log.text


@pytest.mark.parametrize("value", [np.nan, np.inf])
@pytest.mark.parametrize("ndim", [2, 3])
@pytest.mark.parametrize("format", ["dipy", "itk", "afni", "fsl"])
def test_fields_with_values_that_are_not_finite_are_refused(
    format, ndim, value, tmp_path
):
    mapping = displacement_to_mapping(np.zeros((6, 7, 5)[:ndim] + (ndim,)))
    path = tmp_path / "field.nii"
    save_mapping(path, mapping, format=format)
    image = nib.load(path)
    data = np.array(image.dataobj)
    data[(2, 3, 0, 0, 1)[: data.ndim]] = value
    nib.save(nib.Nifti1Image(data, image.affine, image.header), path)
    with pytest.raises(ValueError, match="finite.*field.nii"):
        load_mapping(path)


def extended(path, content):
    """Write a field of ITK's format with some extension of its header."""
    image = nib.Nifti1Image(np.zeros((5, 6, 7, 1, 3), np.float32), np.eye(4))
    image.header.set_intent("vector")
    content = content if isinstance(content, bytes) else content.encode()
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", content))
    nib.save(image, path)
    return path


ABOUT = {
    "format": "itk",
    "ndim": 3,
    "moving_shape": [5, 6, 7],
    "moving_affine": np.eye(4).tolist(),
    "prealign": np.eye(4).tolist(),
}


@pytest.mark.parametrize(
    "change",
    [
        {"format": "elastix"},
        {"format": 5},
        {"format": "fsl"},
        {"format": "dipy"},
        *[{"ndim": n} for n in (-1, "3", 2, 3.0, True, None, 10**30)],
        *[
            {"moving_shape": s}
            for s in (
                [10**30] * 3,
                [10**6] * 3,
                [5, 6],
                [5, 6, 0],
                [5, 6, -7],
                [5, 6, 7.5],
                [5, 6, True],
                "567",
                None,
                5,
            )
        ],
        *[
            {name: a}
            for name in ("moving_affine", "prealign")
            for a in (
                np.eye(3).tolist(),
                np.zeros((4, 4)).tolist(),
                [[1, 2], [3]],
                "x",
                None,
                [[np.nan] * 4] * 4,
                [[10**400] * 4] * 4,
                {"a": 1},
            )
        ],
        *[{"moving_zooms": z} for z in ([0, 1, 1], [1], "x", [np.inf] * 3)],
        *[{"repeated": r} for r in (True, 1, "yes")],
    ],
    ids=str,
)
def test_invalid_values_in_an_extension_are_refused(change, tmp_path):
    content = json.dumps({"dipy_nn_reg": ABOUT | change})
    with pytest.raises(ValueError, match=r"^Expected.*field.nii"):
        load_mapping(extended(tmp_path / "field.nii", content))


@pytest.mark.parametrize(
    "content",
    [
        '{"dipy_nn_reg": 5}',
        '{"dipy_nn_reg": {}}',
        ' { "dipy_nn_reg" : null}',
        '{"dipy_nn_reg": [1, 2]}',
        '{"dipy_nn_reg": {',
        '{"dipy_nn_reg": ' + "[" * 10**5,
        b'{"dipy_nn_reg": "\xff\xfe"}',
        *[
            json.dumps({"dipy_nn_reg": {k: v for k, v in ABOUT.items() if k != name}})
            for name in ABOUT
        ],
    ],
    ids=lambda content: repr(content[:30]),
)
def test_damaged_extensions_of_this_package_are_refused(content, tmp_path):
    with pytest.raises(ValueError, match="header extension as dipy_nn_reg writes it"):
        load_mapping(extended(tmp_path / "field.nii", content))


@pytest.mark.parametrize("content", ["no JSON", "5", "[" * 10**5, b"\xff", "{}", ""])
def test_extensions_of_other_programs_are_ignored(content, tmp_path):
    mapping = load_mapping(extended(tmp_path / "field.nii", content))
    assert tuple(mapping.domain_shape) == (5, 6, 7)


def test_a_format_that_contradicts_the_file_is_refused(tmp_path):
    path = extended(tmp_path / "field.nii", json.dumps({"dipy_nn_reg": ABOUT}))
    with pytest.raises(ValueError, match="format 'afni'.*says that it is.*'itk'"):
        load_mapping(path, format="afni")


def test_a_field_that_collapses_to_a_point_is_refused(tmp_path):
    points = grid_points(SHAPE, np.eye(4))
    values = (-points * [-1, -1, 1]).reshape(*SHAPE, 1, 3)
    with pytest.raises(ValueError, match="Expected a field that can be inverted"):
        load_mapping(save(tmp_path / "f.nii", values, np.eye(4), intent=1007))


@pytest.fixture
def slices(smooth_field):
    """Return a map of one slice in 3D, and a moving slice."""
    field = smooth_field((20, 23), sigma=4, largest=2)
    affine = np.diag([-1.5, -2, 4, 1])
    affine[:3, 3] = [10, 12, 3]
    mapping = displacement_to_mapping(field, static_affine=affine, moving_affine=affine)
    moving = np.random.default_rng(0).random((20, 23), np.float32)
    return mapping, moving, affine


@pytest.mark.parametrize("format", ["dipy", "itk", "afni", "fsl"])
def test_a_single_slice_is_loaded_again_in_both_directions(format, slices, tmp_path):
    mapping, moving, _ = slices
    for one in (mapping, flatten_mapping(mapping)):
        save_mapping(tmp_path / "field.nii.gz", one, format=format)
        again = load_mapping(tmp_path / "field.nii.gz")
        again = lift_mapping(again) if again.dim == 2 else again
        assert tuple(again.codomain_shape) == (20, 23, 1)
        for name in ("transform", "transform_inverse"):
            npt.assert_allclose(
                getattr(again, name)(moving[..., None]),
                getattr(mapping, name)(moving[..., None]),
                atol=0.02,
            )


def inside(mapping, moving):
    """Return where nothing depends on what programs read beyond the border."""
    shrunk = np.zeros_like(moving)
    shrunk[2:-2, 2:-2] = 1
    whole = mapping.transform(shrunk[..., None])[..., 0] > 0.999
    whole[[0, -1]] = whole[:, [0, -1]] = False
    return whole


@pytest.mark.parametrize("axes", [2, 3])
def test_simpleitk_and_ants_apply_a_field_of_one_slice(axes, slices, tmp_path):
    """Of images of two axes it has two; of images of three, three."""
    mapping, moving, affine = slices
    stored = moving if axes == 2 else moving[..., None]
    paths = [str(tmp_path / f"{name}.nii.gz") for name in ("image", "field")]
    image = nib.Nifti1Image(stored, affine)
    image.set_qform(affine, 1)
    nib.save(image, paths[0])
    saved = flatten_mapping(mapping) if axes == 2 else mapping
    save_mapping(paths[1], saved, format="itk")
    expected = mapping.transform(moving[..., None])[..., 0]
    where = inside(mapping, moving)
    assert where.mean() > 0.3
    field = sitk.ReadImage(paths[1], sitk.sitkVectorFloat64)
    found = sitk.ReadImage(paths[0])
    assert found.GetDimension() == axes
    warped = sitk.Resample(
        found, found, sitk.DisplacementFieldTransform(field), sitk.sitkLinear
    )
    warped = sitk.GetArrayFromImage(warped).T.reshape(moving.shape)
    npt.assert_allclose(warped[where], expected[where], atol=2e-3)
    image = ants.image_read(paths[0], dimension=axes)
    warped = ants.apply_transforms(image, image, [paths[1]], interpolator="linear")
    warped = warped.numpy().reshape(moving.shape)
    npt.assert_allclose(warped[where], expected[where], atol=2e-3)


def test_only_maps_of_one_slice_can_be_flattened():
    with pytest.raises(ValueError, match="one slice"):
        flatten_mapping(displacement_to_mapping(np.zeros((4, 5, 6, 3))))
    across = np.zeros((4, 5, 1, 3))
    across[..., 2] = 1
    with pytest.raises(ValueError, match="across"):
        flatten_mapping(displacement_to_mapping(across))
    flat = displacement_to_mapping(np.zeros((4, 5, 2)))
    assert flatten_mapping(lift_mapping(flat)).dim == 2
    npt.assert_array_equal(
        mapping_to_displacement(flatten_mapping(lift_mapping(flat)))[0], 0
    )


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"moving_shape": "ab"}, "moving_shape"),
        ({"moving_shape": 5}, "moving_shape"),
        ({"moving_shape": (5, 6)}, "moving_shape"),
        ({"moving_affine": "x"}, "moving_affine of numbers"),
        ({"moving_affine": np.eye(3)}, "moving_affine"),
        ({"moving_affine": np.eye(4) * 1j}, "moving_affine"),
        ({"moving_zooms": [1, 1]}, "3 voxel sizes in moving_zooms"),
        ({"moving_zooms": "abc"}, "numbers in moving_zooms"),
        ({"prealign": np.eye(3)}, "prealign"),
        ({"format": 3}, "format"),
    ],
    ids=str,
)
def test_invalid_options_of_load_mapping_are_refused(options, message, tmp_path):
    path = save(tmp_path / "f.nii", np.zeros((*SHAPE, 3)), np.eye(4), intent=2006)
    grid = {"moving_shape": SHAPE, "moving_affine": np.eye(4)}
    with pytest.raises(ValueError, match=f"^Expected.*{message}"):
        load_mapping(path, **(grid | options))


@pytest.mark.parametrize("intent", [0, 2006])
@pytest.mark.parametrize("thin", range(3))
def test_positions_of_fsl_are_distinguished_from_world_coordinates(
    intent, thin, grids, tmp_path
):
    """In a thin slab, the axis that FSL turns round hardly counts."""
    shape = np.array([14, 13, 12])
    shape[thin] = 2
    points = grid_points(shape, grids[0])
    voxels = grid_points(shape, np.eye(4))
    if np.linalg.det(grids[0][:3, :3]) > 0:
        voxels[:, 0] = shape[0] - 1 - voxels[:, 0]
    values = (voxels * [2, 2, 3]).reshape(*shape, 3)  # each voxel at its own place
    path = save(tmp_path / "warp.nii", values, grids[0], intent=intent)
    options = {"moving_shape": tuple(shape), "moving_affine": grids[0]}
    for absolute in (None, True):
        mapping = load_mapping(path, absolute=absolute, **options)
        npt.assert_allclose(mapping.transform_points(points), points, atol=1e-3)
