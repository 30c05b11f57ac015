import pytest


def test_number_of_parameters_as_published(count_parameters):
    assert count_parameters("dirnet", ndim=2, spacing=8) == 10_162


@pytest.mark.parametrize("spacing", [5, 64])
def test_other_spacings_are_refused(spacing, build):
    with pytest.raises(ValueError, match=f"power of two .*spacing={spacing}"):
        build("dirnet", ndim=2, spacing=spacing)
