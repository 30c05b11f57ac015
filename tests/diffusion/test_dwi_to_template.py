from dipy.core.gradients import gradient_table
import nibabel as nib
import numpy as np
import numpy.testing as npt
import pytest
from scipy.ndimage import affine_transform

from dipy_nn_reg.data.fibres import make_fibres, make_series
from dipy_nn_reg.diffusion import dwi_to_template
from dipy_nn_reg.diffusion.dwi_to_template import register_dwi_to_template
from dipy_nn_reg.diffusion.series import (
    anisotropy_of,
    brain_mask,
    fit_tensors,
    image_of_series,
    mean_b0,
)
from dipy_nn_reg.mapping.grid import prealign_of

SHAPE = (28, 32, 24)
AFFINE = np.diag([2.0, 2, 2, 1])


@pytest.fixture
def gtab():
    rng = np.random.default_rng(1)
    vectors = rng.normal(size=(12, 3))
    vectors /= np.linalg.norm(vectors, axis=1, keepdims=True)
    values = np.r_[0, np.full(6, 1000.0), 0, np.full(6, 1000.0)]
    return gradient_table(values, bvecs=np.insert(vectors, [0, 6], 0, axis=0))


@pytest.fixture
def series(gtab):
    b0, tensors, _ = make_fibres(shape=SHAPE)
    return make_series(b0, tensors, gtab, noise=0.005, seed=0)


def test_the_image_is_the_mean_of_its_volumes(series, gtab):
    mask = np.zeros(SHAPE)
    mask[5:20] = 1
    found, _, _ = image_of_series(series, gtab, mask=mask)
    expected = (series[..., 0] + series[..., 7]) / 2
    npt.assert_allclose(found, expected * mask, atol=1e-6)
    npt.assert_array_equal(mean_b0(series, gtab)[mask > 0], found[mask > 0])


def test_anisotropy_is_that_of_the_tensors(series, gtab):
    """Closed form, of eigenvalues 1.7, 0.3 and 0.3: 0.799."""
    _, _, bundles = make_fibres(shape=SHAPE)
    found, _, _ = image_of_series(series, gtab, image="fa", mask=np.ones(SHAPE))
    l1, l2 = 1.7, 0.3
    expected = (l1 - l2) / np.sqrt(l1**2 + 2 * l2**2)
    npt.assert_allclose(np.median(found[bundles > 0]), expected, atol=0.02)
    tensors = fit_tensors(series, gtab, np.ones(SHAPE, bool))
    npt.assert_allclose(anisotropy_of(tensors), found)
    assert np.all(anisotropy_of(np.zeros((2, 6), np.float32)) == 0)


def test_a_mask_has_the_shape_of_a_volume(series, gtab):
    with pytest.raises(ValueError, match="mask of shape"):
        image_of_series(series, gtab, mask=np.ones((3, 3, 3)))
    with pytest.raises(ValueError, match="image"):
        image_of_series(series, gtab, image="adc")


def test_a_brain_is_found_or_everything():
    b0, _, _ = make_fibres(shape=(40, 48, 32))
    mask, head = brain_mask(b0), b0 > 0
    assert 2 * (mask & head).sum() / (mask.sum() + head.sum()) > 0.9
    # Tissue as dark as air is within the brain, also if a cleft leads to it.
    dark = b0.copy()
    dark[18:24, 20:30, 12:20] = 0
    dark[20:22, 25:, 14:16] = 0
    assert brain_mask(dark)[18:24, 20:30, 12:20].mean() > 0.95
    assert brain_mask(np.zeros((20, 20, 20), np.float32)).all()


@pytest.mark.slow
def test_it_takes_and_returns_what_dipy_does(series, gtab, smooth_field, tmp_path):
    field = smooth_field(SHAPE, sigma=5, largest=2)
    template, _, _ = make_fibres(shape=SHAPE, displacement=field)
    affines = {"dwi_affine": AFFINE, "template_affine": AFFINE}
    options = {"prealign": None, "mask": np.ones(SHAPE), "loss": "ncc"}
    options["level_iters"] = (10, 10)
    warped, mapping = register_dwi_to_template(
        series, gtab, template=template, **affines, **options
    )
    b0 = mean_b0(series, gtab)
    npt.assert_allclose(warped, mapping.transform(b0), atol=1e-6)
    assert np.abs(warped - template).mean() < 0.6 * np.abs(b0 - template).mean()
    nib.save(nib.Nifti1Image(series, AFFINE), tmp_path / "dwi.nii.gz")
    np.savetxt(tmp_path / "bval", gtab.bvals[None])
    np.savetxt(tmp_path / "bvec", gtab.bvecs.T)
    again, _ = register_dwi_to_template(
        tmp_path / "dwi.nii.gz",
        (tmp_path / "bval", tmp_path / "bvec"),
        template=nib.Nifti1Image(template, AFFINE),
        **options,
    )
    npt.assert_allclose(again, warped, atol=1e-5)


def test_an_affine_alone_is_that_of_the_heads(gtab):
    """As dipy.align returns it: from the template to the series, in mm."""
    moved = np.eye(4)
    moved[:3, 3] = [4.0, -2, 2]
    b0, tensors, _ = make_fibres(shape=SHAPE)
    series = make_series(b0, tensors, gtab, noise=0, seed=0)
    _, affine = register_dwi_to_template(
        series,
        gtab,
        dwi_affine=moved @ AFFINE,
        template=b0,
        template_affine=AFFINE,
        reg_method="aff",
        mask=np.ones(SHAPE),
    )
    npt.assert_allclose(affine, moved, atol=0.05)


def test_arguments_are_those_of_dipy(series, gtab):
    """Gradients as arrays, names in any case, its options, and an image not masked."""
    mask = np.zeros(SHAPE)
    mask[:, :20] = 1
    b0, *_ = make_fibres(shape=SHAPE)
    arguments = {"template": b0, "template_affine": AFFINE, "dwi_affine": AFFINE}
    warped, affine = register_dwi_to_template(
        series,
        (gtab.bvals, gtab.bvecs),
        reg_method="AFF",
        pipeline=["center_of_mass", "translation", "rigid"],
        mask=mask,
        **arguments,
    )
    turn = affine[:3, :3]
    npt.assert_allclose(turn @ turn.T, np.eye(3), atol=1e-6)
    from_template = np.linalg.inv(AFFINE) @ affine @ AFFINE
    expected = affine_transform(mean_b0(series, gtab), from_template, order=1)
    inner = np.s_[3:-3, 3:-3, 3:-3]
    npt.assert_allclose(warped[inner], expected[inner], atol=1e-3)
    assert np.abs(warped[:, 22:]).max() > 0.1  # where the mask is 0
    given = {"dim": 3, "metric": "CC", "reg_method": "SyN", "level_iters": (2, 2)}
    _, mapping = register_dwi_to_template(
        series, gtab, prealign=affine, mask=mask, **given, **arguments
    )
    npt.assert_allclose(prealign_of(mapping), affine)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"step_length": 0.2}, "Expected options out of .*metric, dim.*'step_length'"),
        ({"metric": "EM"}, "metric.*'CC', 'SSD'.*'EM'"),
        ({"dim": 2}, "dim to be 3.*2"),
        ({"reg_method": "aff", "pipeline": ["translation"]}, "pipeline.*'translation'"),
        ({"reg_method": "aff", "sigmas": [3]}, "pipeline. Received 'sigmas'"),
    ],
)
def test_options_that_are_not_known_are_refused(options, message, series, gtab):
    arguments = {"template": series[..., 0], "template_affine": AFFINE}
    with pytest.raises(ValueError, match=message):
        register_dwi_to_template(
            series, gtab, dwi_affine=AFFINE, **arguments, **options
        )


def test_what_does_not_belong_together_is_refused(series, gtab):
    template = series[..., 0]
    affines = {"dwi_affine": AFFINE, "template_affine": AFFINE}
    with pytest.raises(ValueError, match="reg_method"):
        options = {"reg_method": "rigid", **affines}
        register_dwi_to_template(series, gtab, template=template, **options)
    with pytest.raises(ValueError, match="three axes"):
        register_dwi_to_template(series, gtab, template=series, **affines)
    with pytest.raises(ValueError, match="four axes"):
        register_dwi_to_template(template, gtab, template=template, **affines)
    with pytest.raises(ValueError, match="gradient for each of 3"):
        register_dwi_to_template(series[..., :3], gtab, template=template, **affines)
    with pytest.raises(ValueError, match="GradientTable"):
        register_dwi_to_template(series, "bvals", template=template, **affines)
    with pytest.raises(ValueError, match="template_affine"):
        register_dwi_to_template(series, gtab, template=template, dwi_affine=AFFINE)
    weighted = gradient_table(np.full(14, 1000), bvecs=np.tile([1.0, 0, 0], (14, 1)))
    with pytest.raises(ValueError, match="without weighting"):
        register_dwi_to_template(series, weighted, template=template, **affines)


def test_the_header_of_a_mask_says_where_it_is(series, gtab, monkeypatch):
    """NiBabel turns the mask back; b-vectors may be three rows, as in files of FSL."""
    mask = np.zeros(SHAPE, np.uint8)
    mask[4:12, 5:20, 6:18] = 1
    flipped = nib.Nifti1Image(mask, AFFINE).as_reoriented([[0, -1], [1, 1], [2, 1]])
    assert not np.array_equal(flipped.get_fdata(), mask)
    received = []

    def image_of(data, gtab, *, image, mask):
        received.append(mask)
        raise StopIteration

    monkeypatch.setattr(dwi_to_template, "image_of_series", image_of)
    gradients, place = (gtab.bvals, gtab.bvecs.T), {"dwi_affine": AFFINE}
    template = nib.Nifti1Image(series[..., 0], AFFINE)
    for given in (flipped, mask):
        with pytest.raises(StopIteration):
            register_dwi_to_template(
                series, gradients, template=template, mask=given, **place
            )
        npt.assert_array_equal(received[-1], mask)
    flipped.affine[:3, 3] += 1000
    far = nib.Nifti1Image(mask, flipped.affine)
    with pytest.raises(ValueError, match="mask that overlaps the series"):
        register_dwi_to_template(
            series, gradients, template=template, mask=far, **place
        )
