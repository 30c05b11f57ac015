import pytest


@pytest.mark.parametrize(
    ("name", "ndim", "parameters"),
    [
        ("voxelmorph1", 3, 259_675),
        ("voxelmorph2", 3, 300_547),
        ("voxelmorph1", 2, 86_658),
        ("voxelmorph2", 2, 100_242),
    ],
)
def test_number_of_parameters_as_published(name, ndim, parameters, count_parameters):
    assert count_parameters(name, ndim=ndim) == parameters
