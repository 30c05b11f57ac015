import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.io.gradients import check_gradients, read_gradients


@pytest.fixture
def save(tmp_path):
    """Return a function that writes b-values and b-vectors, and returns the paths."""

    def write(bvals, bvecs):
        np.savetxt(tmp_path / "bval", np.atleast_2d(bvals))
        np.savetxt(tmp_path / "bvec", np.asarray(bvecs).T)
        return tmp_path / "bval", tmp_path / "bvec"

    return write


BVALS = np.array([0, 1000, 5, 2000])
BVECS = np.array([[0, 0, 0], [1, 0, 0], [0.6, 0, 0], [0, 0.6, 0.8]])


def test_gradients_are_those_of_the_files(save):
    gtab = read_gradients(*save(BVALS, BVECS), volumes=4)
    npt.assert_array_equal(gtab.bvals, BVALS)
    npt.assert_array_equal(gtab.b0s_mask, [True, False, True, False])
    npt.assert_allclose(gtab.bvecs[[1, 3]], BVECS[[1, 3]])
    missing = np.where(np.arange(4)[:, None] == 0, np.nan, BVECS)
    again = read_gradients(*save(BVALS, missing), volumes=4)
    npt.assert_array_equal(again.bvecs, gtab.bvecs)


@pytest.mark.parametrize(
    "bvals, bvecs, volumes, message",
    [
        (BVALS, BVECS, 5, "5 b-values, one for each volume. Received 4"),
        (BVALS, BVECS[:3], 4, "4 b-vectors, one for each volume. Received 3"),
        (BVALS + 100, BVECS, 4, "without weighting.*from 100 to 2100"),
        (BVALS, BVECS * 0.9, 4, "length 1.*2 that are not.*0.9 for volume 1"),
        (BVALS, BVECS + np.nan, 4, "length 1"),
        (-BVALS, BVECS, 4, "not negative"),
        (BVALS * np.nan, BVECS, 4, "finite"),
    ],
)
def test_gradients_that_do_not_fit_are_refused(bvals, bvecs, volumes, message, save):
    with pytest.raises(ValueError, match=message):
        read_gradients(*save(bvals, bvecs), volumes=volumes)


def test_text_is_refused(save, tmp_path):
    (tmp_path / "words").write_text("no numbers")
    with pytest.raises(ValueError, match="4 b-values"):
        read_gradients(tmp_path / "words", save(BVALS, BVECS)[1], volumes=4)


def test_arrays_are_checked_as_files_are():
    gtab = check_gradients(BVALS, BVECS, volumes=4)
    npt.assert_array_equal(gtab.bvals, BVALS)
    # Three rows, as in files of FSL; DIPY turns them as well.
    turned = check_gradients(BVALS, BVECS.T, volumes=4)
    npt.assert_array_equal(turned.bvecs, gtab.bvecs)
    for values, vectors in ((BVALS, BVECS[:, :2]), (BVALS[None], BVECS)):
        with pytest.raises(ValueError, match=r"shape \(4,\) and .*\(4, 3\). Received"):
            check_gradients(values, vectors, volumes=4)
    with pytest.raises(ValueError, match="length 1"):
        check_gradients(BVALS, 2 * BVECS, volumes=4)
