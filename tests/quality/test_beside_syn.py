import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg import DeformableRegistration, transform
from dipy_nn_reg.quality.beside_syn import (
    SYN_METRICS,
    compare_with_syn,
    format_table,
    measure,
    register_with_syn,
)


@pytest.mark.parametrize("metric", SYN_METRICS)
def test_syn_registers_and_returns_its_displacement(metric, sevens):
    moving, static = sevens[:2]
    warped, displacement, seconds = register_with_syn(moving, static, metric=metric)
    before = np.corrcoef(static.ravel(), moving.ravel())[0, 1]
    after = measure(static, warped, displacement)["ncc"]
    assert 1 - after < 0.5 * (1 - before)
    # The displacement follows the convention of this package, as does its folding.
    npt.assert_allclose(transform.warp(moving, displacement), warped, atol=1e-5)
    assert seconds > 0


def test_methods_are_compared_on_the_same_pairs(sevens):
    moving, static = sevens[1:8], sevens[0]
    registration = DeformableRegistration(seed=0)  # untrained: no motion
    table = compare_with_syn(registration, moving, static, syn_pairs=3)
    assert list(table) == [
        "before",
        "dipy_nn_reg",
        "SyN (SSD)",
        "SyN (CC)",
        "dipy_nn_reg, all 7 pairs",
    ]
    ncc = [np.corrcoef(static.ravel(), m.ravel())[0, 1] for m in moving]
    npt.assert_allclose(table["before"]["ncc"], np.mean(ncc[:3]), rtol=1e-5)
    npt.assert_allclose(table["dipy_nn_reg"]["ncc"], np.mean(ncc[:3]), rtol=1e-5)
    all_pairs = table["dipy_nn_reg, all 7 pairs"]
    npt.assert_allclose(all_pairs["ncc"], np.mean(ncc), rtol=1e-5)
    assert table["SyN (SSD)"]["ncc"] > table["before"]["ncc"]
    lines = format_table(table).splitlines()
    assert len(lines) == 6
    assert len({len(line) for line in lines}) == 1
    assert f"{np.mean(ncc):.4f}" in lines[-1]


@pytest.mark.parametrize("name", ["moving", "static"])
@pytest.mark.parametrize(
    "change",
    [
        lambda image: np.where(image == image.max(), np.inf, image),
        lambda image: np.where(image == image.max(), np.nan, image),
        lambda image: image[:, :-1],
        lambda image: image[..., None],
        lambda image: image * 1j,
        lambda image: "text",
        lambda image: 0 * image + 1,
        lambda image: image.astype(np.float64) + 1e9,
        lambda image: image.astype(np.float64) * 1e300,
    ],
    ids=["inf", "NaN", "another size", "three axes", "complex", "text"]
    + ["constant", "no contrast in float32", "beyond float32"],
)
def test_images_that_crash_syn_are_refused(name, change, sevens):
    images = {"moving": sevens[0], "static": sevens[1]}
    images[name] = change(images[name])
    with pytest.raises(ValueError, match="Expected .* Received"):
        register_with_syn(**images, metric="SSD")


def test_an_unknown_metric_is_refused(sevens):
    with pytest.raises(ValueError, match="Expected metric to be one of"):
        register_with_syn(*sevens[:2], metric="MI")


@pytest.mark.parametrize("pairs", [0, -1, 2.5, "2", None])
def test_an_invalid_number_of_pairs_is_refused(pairs, sevens):
    with pytest.raises(ValueError, match="Expected syn_pairs"):
        compare_with_syn(None, sevens[1:3], sevens[0], syn_pairs=pairs)
