import pytest

from dipy_nn_reg.cohort import rounds
from dipy_nn_reg.io.nifti import read_image


@pytest.fixture
def image(blobs, rng):
    """Return a volume with a background of 0."""
    return sum(blobs(rng, 3, (18, 20, 16)))


@pytest.fixture
def open_images(write):
    """Return a function that writes arrays to files, and reads them as images."""

    def open_all(arrays, affines=None):
        affines = affines or [None] * len(arrays)
        paths = [
            write(f"{i}.nii.gz", a, affine)
            for i, (a, affine) in enumerate(zip(arrays, affines))
        ]
        return [read_image(path) for path in paths]

    return open_all


@pytest.fixture
def rounds_begun(monkeypatch):
    """Return the names of the rounds that begin; the second one is interrupted."""
    register, begun = rounds.Rounds._register, []

    def stop(self, folder, **options):
        begun.append(folder.parent.name)
        if len(begun) == 2:
            raise KeyboardInterrupt
        return register(self, folder, **options)

    monkeypatch.setattr(rounds.Rounds, "_register", stop)
    return begun
