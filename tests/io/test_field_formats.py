"""Fields of other programs, recognised by headers and values."""

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
    grid_points,
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


def true_map(points):
    """Return where points go, by a smooth and mostly affine map."""
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
    npt.assert_allclose(mapping.transform_points(points), true_map(points), atol=atol)
    inner = points[np.all(np.abs(points - points.mean(0)) < 4, axis=1)]
    back = mapping.transform_points_inverse(true_map(inner))
    npt.assert_allclose(back, inner, atol=0.02)


POSITIONS = [
    {"intent": 1007, "name": "Mapping"},  # SPM
    {"intent": 1007, "name": "NREG_TRANS", "p1": 0},  # NiftyReg
    {"intent": 0},  # recognised by the values
    {"intent": 1007},
]


@pytest.mark.parametrize("header", POSITIONS)
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("micron", 1e-3)])
def test_positions_are_distinguished_from_displacements(
    header, unit, mm, grids, tmp_path
):
    points = grid_points(SHAPE, grids[0])
    values = true_map(points).reshape(*SHAPE, 1, 3) / mm
    affine = np.diag([1 / mm] * 3 + [1]) @ grids[0]
    path = save(tmp_path / "y_field.nii", values, affine, unit=unit, **header)
    check(load_mapping(path), grids[0])


def test_positions_of_mrtrix_are_read(grids, tmp_path):
    values = true_map(grid_points(SHAPE, grids[0])).reshape(*SHAPE, 3)
    check(load_mapping(save(tmp_path / "warp.nii", values, grids[0])), grids[0])


def test_displacements_of_niftyreg_are_in_ras(grids, tmp_path):
    points = grid_points(SHAPE, grids[0])
    values = (true_map(points) - points).reshape(*SHAPE, 1, 3)
    header = {"intent": 1007, "name": "NREG_TRANS", "p1": 1}
    check(
        load_mapping(save(tmp_path / "disp.nii", values, grids[0], **header)), grids[0]
    )


@pytest.mark.parametrize("header", [{"intent": 0}, {"intent": 1006}, {"intent": 1007}])
@pytest.mark.parametrize(("unit", "mm"), [("mm", 1), ("micron", 1e-3)])
def test_displacements_of_itk_are_in_mm(header, unit, mm, grids, tmp_path):
    """SimpleITK reads the same file."""
    points = grid_points(SHAPE, grids[0])
    # NIfTI's displacements are in RAS+, and ITK converts them when it reads them.
    axes = [1, 1, 1] if header["intent"] == 1006 else [-1, -1, 1]
    values = ((true_map(points) - points) * axes).reshape(*SHAPE, 1, 3)
    affine = np.diag([1 / mm] * 3 + [1]) @ grids[0]
    path = save(tmp_path / "field.nii", values, affine, unit=unit, **header)
    check(load_mapping(path), grids[0])
    if not header["intent"]:
        return  # SimpleITK reads five axes
    field = sitk.ReadImage(str(path), sitk.sitkVectorFloat64)
    transform = sitk.DisplacementFieldTransform(field)
    turn = np.array([-1, -1, 1])
    result = [turn * transform.TransformPoint(turn * point) for point in points[::50]]
    npt.assert_allclose(result, true_map(points[::50]), atol=1e-3)


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
    """Write images and a warp between them, with coordinates by fslpy."""
    images = [
        FslImage(str(save(folder / f"{name}.nii", np.zeros(shape), affine, zooms=z)))
        for name, shape, affine, z in zip(
            ("static", "moving"), (SHAPE, MOVING_SHAPE), grids, zooms
        )
    ]
    points = grid_points(SHAPE, grids[0])
    at = apply_affine(images[1].getAffine("world", "fsl"), true_map(points))
    start = apply_affine(images[0].getAffine("world", "fsl"), points)
    values = (at if absolute else at - start).reshape(*SHAPE, 3)
    path = folder / "warp.nii"
    save(path, values, grids[0], zooms=zooms[0], intent=intent)
    return path, images


@pytest.mark.parametrize("absolute", [False, True])
@pytest.mark.parametrize("stated", [False, True])
@pytest.mark.parametrize("zooms", [(None, None), ([1.8, 2, 3.3], [1.4, 2, 3])])
def test_warps_of_fsl_are_measured_by_pixdim(absolute, stated, zooms, grids, tmp_path):
    path, images = fsl_warp(tmp_path, grids, zooms, absolute=absolute)
    mapping = load_mapping(
        path,
        moving_shape=MOVING_SHAPE,
        moving_affine=grids[1],
        moving_zooms=images[1].pixdim,
        absolute=absolute if stated else None,
    )
    check(mapping, grids[0], atol=2e-3)
    field = readFnirt(
        str(path), images[1], images[0]
    )  # type of the warp guessed by fslpy
    points = grid_points(SHAPE, grids[0])
    result = field.transform(points, from_="world", to="world")
    npt.assert_allclose(result, true_map(points), atol=2e-3)


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
    result = field.transform(points, from_="world", to="world")
    npt.assert_allclose(result, true_map(points), atol=2e-3)
    check(load_mapping(ours), grids[0], atol=2e-3)


def test_the_option_absolute_overrides_the_values(grids, tmp_path):
    """Values are ambiguous where everything moves to one side."""
    path, _ = fsl_warp(tmp_path, grids, (None, None), absolute=False)
    options = {"moving_shape": MOVING_SHAPE, "moving_affine": grids[1]}
    points = grid_points(SHAPE, grids[0])
    absolute = load_mapping(path, absolute=True, **options).transform_points(points)
    assert np.abs(absolute - true_map(points)).max() > 1
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


def test_a_field_that_collapses_to_a_point_is_refused(tmp_path):
    points = grid_points(SHAPE, np.eye(4))
    values = (-points * [-1, -1, 1]).reshape(*SHAPE, 1, 3)
    with pytest.raises(ValueError, match="Expected a field that can be inverted"):
        load_mapping(save(tmp_path / "f.nii", values, np.eye(4), intent=1007))


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
    """In a thin slab, the axis that FSL reverses has little influence."""
    shape = np.array([14, 13, 12])
    shape[thin] = 2
    points = grid_points(shape, grids[0])
    voxels = grid_points(shape, np.eye(4))
    if np.linalg.det(grids[0][:3, :3]) > 0:
        voxels[:, 0] = shape[0] - 1 - voxels[:, 0]
    values = (voxels * [2, 2, 3]).reshape(*shape, 3)  # identity
    path = save(tmp_path / "warp.nii", values, grids[0], intent=intent)
    options = {"moving_shape": tuple(shape), "moving_affine": grids[0]}
    for absolute in (None, True):
        mapping = load_mapping(path, absolute=absolute, **options)
        npt.assert_allclose(mapping.transform_points(points), points, atol=1e-3)


@pytest.mark.parametrize(
    ("header", "format", "told"),
    [
        ({"intent": 1007, "name": "Mapping"}, "itk", "spm"),
        ({"intent": 1007, "name": "NREG_TRANS", "p1": 1}, "spm", "niftyreg"),
        ({"intent": 1006}, "spm", "dispvect"),
    ],
)
def test_a_format_that_the_intent_contradicts_is_refused(
    header, format, told, tmp_path
):
    save(tmp_path / "field.nii", np.zeros((4, 5, 6, 1, 3), "f4"), np.eye(4), **header)
    with pytest.raises(ValueError, match=f"format '{format}'. .*of format '{told}'"):
        load_mapping(tmp_path / "field.nii", format=format)


def test_displacements_of_a_format_may_have_a_common_intent(tmp_path):
    values = np.zeros((4, 5, 6, 1, 3), "f4")
    save(tmp_path / "field.nii", values, np.eye(4), intent=1006)
    assert not load_mapping(tmp_path / "field.nii", format="itk").backward.any()
