"""Linear transforms of ITK, against SimpleITK."""

import h5py
import numpy as np
import numpy.testing as npt
import pytest
import SimpleITK as sitk

from dipy_nn_reg.io.itk_linear import affine_of

AFFINES = {
    (kind, ndim): make
    for ndim in (2, 3)
    for kind, make in {
        "AffineTransform": lambda n=ndim: sitk.AffineTransform(n),
        "IdentityTransform": lambda n=ndim: sitk.Transform(n, sitk.sitkIdentity),
        "ScaleTransform": lambda n=ndim: sitk.ScaleTransform(n),
        "TranslationTransform": lambda n=ndim: sitk.TranslationTransform(n),
    }.items()
}
KINDS = AFFINES | {
    ("Euler2DTransform", 2): sitk.Euler2DTransform,
    ("Similarity2DTransform", 2): sitk.Similarity2DTransform,
    ("Euler3DTransform", 3): sitk.Euler3DTransform,
    ("Similarity3DTransform", 3): sitk.Similarity3DTransform,
    ("VersorRigid3DTransform", 3): sitk.VersorRigid3DTransform,
    ("VersorTransform", 3): sitk.VersorTransform,
}


def stored(transform, folder):
    """Return the parameters of a transform as SimpleITK writes them to HDF5."""
    sitk.WriteTransform(transform, str(folder / "transform.h5"))
    with h5py.File(folder / "transform.h5") as file:
        group = file["TransformGroup/0"]
        names = "TransformParameters", "TransformFixedParameters"
        return tuple(group[name][()] for name in names)


@pytest.mark.parametrize(("kind", "ndim"), KINDS)
def test_points_move_as_with_simpleitk(kind, ndim, rng, tmp_path):
    transform = KINDS[kind, ndim]()
    n = len(transform.GetParameters())
    transform.SetParameters(rng.uniform(0.1, 0.5, n).tolist())
    if kind not in ("IdentityTransform", "TranslationTransform"):
        transform.SetCenter([3.0, -20, 7][:ndim])
    affine = affine_of(kind, ndim, *stored(transform, tmp_path))
    points = rng.uniform(-50, 50, (9, ndim))
    expected = [transform.TransformPoint(point) for point in points.tolist()]
    npt.assert_allclose(
        points @ affine[:ndim, :ndim].T + affine[:ndim, ndim], expected, atol=1e-9
    )


def test_the_order_of_euler_angles_is_part_of_the_file(rng, tmp_path):
    transform = sitk.Euler3DTransform()
    transform.SetRotation(0.3, -0.4, 0.5)
    transform.SetComputeZYX(True)
    parameters, fixed = stored(transform, tmp_path)
    affine = affine_of("Euler3DTransform", 3, parameters, fixed)
    npt.assert_allclose(affine[:3, :3].ravel(), transform.GetMatrix(), atol=1e-12)
    transform.SetComputeZYX(False)
    affine = affine_of("Euler3DTransform", 3, parameters, fixed[:3])  # earlier ITK
    npt.assert_allclose(affine[:3, :3].ravel(), transform.GetMatrix(), atol=1e-12)


def test_the_base_class_of_ants_is_an_affine(rng):
    parameters, fixed = rng.random(12), rng.random(3)
    npt.assert_array_equal(
        affine_of("MatrixOffsetTransformBase", 3, parameters, fixed),
        affine_of("AffineTransform", 3, parameters, fixed),
    )


@pytest.mark.parametrize(
    ("kind", "ndim", "sizes", "message"),
    [
        ("BSplineTransform", 3, (192, 18), "AffineTransform.*BSplineTransform"),
        ("Euler3DTransform", 2, (6, 3), "Euler3DTransform of 2 axes"),
        ("AffineTransform", 3, (11, 3), "12 parameters and 3 or 0 fixed.*11 and 3"),
        ("AffineTransform", 3, (12, 2), "12 parameters and 3 or 0 fixed.*12 and 2"),
        ("Euler3DTransform", 3, (6, 5), "6 parameters and 3, 4 or 0 fixed"),
    ],
)
def test_what_is_not_linear_is_refused(kind, ndim, sizes, message):
    with pytest.raises(ValueError, match=message):
        affine_of(kind, ndim, *map(np.zeros, sizes))


@pytest.mark.parametrize(
    ("parameters", "message"),
    [([np.nan] * 12, "finite"), ([0.0] * 12, "can be inverted")],
)
def test_an_affine_that_is_no_map_is_refused(parameters, message):
    with pytest.raises(ValueError, match=f"AffineTransform.*{message}"):
        affine_of("AffineTransform", 3, np.array(parameters), np.zeros(3))
