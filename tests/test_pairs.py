import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.pairs import Pairs


@pytest.fixture
def images():
    """Ten images of one pixel, each with its number as value."""
    return np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)


def values(pairs, name):
    return [pairs[i][name].ravel().tolist() for i in range(len(pairs))]


def test_in_order_with_one_static_for_each(images):
    pairs = Pairs(images, images + 100, batch_size=4)
    assert values(pairs, "moving") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert values(pairs, "static") == [
        [100, 101, 102, 103],
        [104, 105, 106, 107],
        [108, 109],
    ]
    assert pairs[0]["moving"].dtype == pairs[0]["static"].dtype == np.float32


def test_one_static_for_all(images):
    pairs = Pairs(images, images[:1] + 100, batch_size=4)
    assert values(pairs, "static") == [[100] * 4, [100] * 4, [100] * 2]


def test_shuffled_batches_have_one_size_and_keep_pairs_together(images):
    rng = np.random.default_rng(0)
    pairs = Pairs(images, images + 100, batch_size=4, rng=rng)
    first = values(pairs, "moving")
    assert [len(batch) for batch in first] == [4, 4, 4]
    assert set(sum(first, [])) == set(range(10))
    npt.assert_array_equal(np.array(first) + 100, values(pairs, "static"))
    pairs.on_epoch_end()
    assert values(pairs, "moving") != first


def test_random_pairs_are_of_two_images_and_new_in_each_epoch(images):
    pairs = Pairs(images, None, batch_size=5, rng=np.random.default_rng(0))
    seen = set()
    for _ in range(60):
        moving, static = (sum(values(pairs, name), []) for name in ("moving", "static"))
        assert sorted(moving) == list(range(10))
        seen |= set(zip(moving, static))
        pairs.on_epoch_end()
    assert seen == {(m, s) for m in range(10) for s in range(10) if m != s}


def test_a_batch_is_no_larger_than_the_images(images):
    assert len(Pairs(images, images, batch_size=64)) == 1
    assert len(Pairs(images, images, batch_size=64)[0]["moving"]) == 10
