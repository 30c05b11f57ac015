"""Batches of pairs of images."""

import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.losses.supervision import one_hot
from dipy_nn_reg.training.data_checks import check_training_data
from dipy_nn_reg.training.dataset import Changes, PairDataset


@pytest.fixture
def images():
    """Return ten images of one pixel, whose value is the number of the image."""
    return np.arange(10, dtype=np.uint8).reshape(10, 1, 1, 1)


def values(pairs, name):
    return [pairs[i][name].ravel().tolist() for i in range(len(pairs))]


def test_pairs_are_in_order_without_a_generator(images):
    pairs = PairDataset(images, images + 100, batch_size=4)
    assert values(pairs, "moving") == [[0, 1, 2, 3], [4, 5, 6, 7], [8, 9]]
    assert values(pairs, "static") == [
        [100, 101, 102, 103],
        [104, 105, 106, 107],
        [108, 109],
    ]
    assert pairs[0]["moving"].dtype == pairs[0]["static"].dtype == np.float32


def test_one_static_image_is_paired_with_all(images):
    pairs = PairDataset(images, images[:1] + 100, batch_size=4)
    assert values(pairs, "static") == [[100] * 4, [100] * 4, [100] * 2]


def test_shuffled_batches_have_one_size_and_keep_pairs_together(images):
    rng = np.random.default_rng(0)
    pairs = PairDataset(images, images + 100, batch_size=4, rng=rng)
    first = values(pairs, "moving")
    assert [len(batch) for batch in first] == [4, 4, 4]
    assert set(sum(first, [])) == set(range(10))
    npt.assert_array_equal(np.array(first) + 100, values(pairs, "static"))
    pairs.on_epoch_end()
    assert values(pairs, "moving") != first


def test_a_smoothness_is_that_of_each_pair_or_drawn_anew(images):
    fixed = PairDataset(images, images, batch_size=4, smoothness=0.25)
    assert values(fixed, "smoothness") == [[0.25] * 4, [0.25] * 4, [0.25] * 2]
    assert fixed[2]["smoothness"].shape == (2, 1)
    rng = np.random.default_rng(0)
    drawn = PairDataset(images, images, batch_size=10, smoothness="any", rng=rng)
    epochs = []
    for _ in range(100):
        epochs += values(drawn, "smoothness")
        drawn.on_epoch_end()
    assert len(set(sum(epochs, []))) > 990  # new for each pair and in each epoch
    assert drawn[0]["smoothness"].dtype == np.float32
    # Evenly between 0 and 1: a tenth of them in each tenth.
    counts, _ = np.histogram(epochs, bins=10, range=(0, 1))
    assert counts.sum() == 1000 and counts.min() > 70 and counts.max() < 130
    assert "smoothness" not in PairDataset(images, images, batch_size=4)[0]
    with pytest.raises(ValueError, match="Expected rng.*Received rng=None"):
        PairDataset(images, images, batch_size=4, smoothness="any")


def test_random_pairs_are_of_two_images_and_new_in_each_epoch(images):
    pairs = PairDataset(images, None, batch_size=5, rng=np.random.default_rng(0))
    seen = set()
    for _ in range(60):
        moving, static = (sum(values(pairs, name), []) for name in ("moving", "static"))
        assert sorted(moving) == list(range(10))
        seen |= set(zip(moving, static))
        pairs.on_epoch_end()
    assert seen == {(m, s) for m in range(10) for s in range(10) if m != s}


def test_batch_is_not_larger_than_the_number_of_images(images):
    assert len(PairDataset(images, images, batch_size=64)) == 1
    assert len(PairDataset(images, images, batch_size=64)[0]["moving"]) == 10


@pytest.fixture
def annotate():
    """Return a maker of annotations that are functions of the image's number."""

    def make(moving, static):
        names = {"moving": moving, "static": static}
        numbers = {kind: images.ravel().astype(int) for kind, images in names.items()}
        annotations = {"label_values": np.arange(1, 8)}
        for kind, n in numbers.items():
            annotations[f"{kind}_labels"] = (n % 8).reshape(-1, 1, 1)
            points = np.stack([n, -n, n + 0.5, n**2], axis=-1)
            annotations[f"{kind}_landmarks"] = points.reshape(-1, 2, 2)
        # The mask holds one voxel where the static number is a multiple of three.
        annotations["mask"] = (numbers["static"] % 3 == 0).reshape(-1, 1, 1, 1)
        return Annotations(**annotations)

    return make


def assert_annotations_fit(pairs):
    """Compare the annotations of each pair with those of its images, by number."""
    for images, annotations in (pairs[i] for i in range(len(pairs))):
        assert all(array.dtype == np.float32 for array in annotations.values())
        for kind in ("moving", "static"):
            n = images[kind].ravel().astype(int)
            fractions = annotations[f"{kind}_labels"]
            assert fractions.shape == (len(n), 1, 1, 7)
            npt.assert_array_equal(fractions[:, 0, 0], np.eye(8)[n % 8, 1:])
            points = np.stack([n, -n, n + 0.5, n**2], axis=-1).reshape(-1, 2, 2)
            npt.assert_array_equal(annotations[f"{kind}_landmarks"], points)
        static = images["static"].ravel()
        npt.assert_array_equal(annotations["mask"].ravel(), static % 3 == 0)


@pytest.mark.parametrize("shuffled", [False, True])
def test_annotations_stay_with_their_images(shuffled, images, annotate):
    rng = np.random.default_rng(0) if shuffled else None
    static = images + 105
    annotations = annotate(images, static)
    pairs = PairDataset(images, static, batch_size=4, annotations=annotations, rng=rng)
    for _ in range(3):
        assert_annotations_fit(pairs)
        pairs.on_epoch_end()
    moved = np.concatenate([pairs[i][0]["moving"].ravel() for i in range(3)])
    assert (moved.tolist() != list(range(10))) == shuffled


def test_annotations_of_one_static_image_are_repeated(images, annotate):
    static = images[:1] + 105
    annotations = annotate(images, static)
    rng = np.random.default_rng(0)
    pairs = PairDataset(images, static, batch_size=4, annotations=annotations, rng=rng)
    assert_annotations_fit(pairs)
    # So is one mask for many static images.
    annotations = Annotations(mask=np.ones((1, 1, 1, 1), bool))
    pairs = PairDataset(images, images, batch_size=4, annotations=annotations)
    npt.assert_array_equal(pairs[2][1]["mask"], np.ones((2, 1, 1, 1)))


def test_annotations_stay_with_random_partners(images, annotate):
    annotations = annotate(images, images)
    rng = np.random.default_rng(0)
    pairs = PairDataset(images, None, batch_size=5, annotations=annotations, rng=rng)
    for _ in range(20):
        assert_annotations_fit(pairs)
        pairs.on_epoch_end()


def test_labels_are_one_hot_without_background():
    label_maps = np.array([[[0, 7], [300, 7]], [[9, 0], [0, 300]]])
    fractions = one_hot(label_maps, np.array([7, 300]))
    assert fractions.shape == (2, 2, 2, 2)
    assert fractions.dtype == np.float32
    npt.assert_array_equal(fractions[..., 0], [[[0, 1], [0, 1]], [[0, 0], [0, 0]]])
    npt.assert_array_equal(fractions[..., 1], [[[0, 0], [1, 0]], [[0, 0], [0, 1]]])


def test_a_few_of_many_labels_are_drawn_for_each_batch():
    numbers = np.arange(1, 13)
    maps = np.tile(numbers, (6, 2, 1))
    images = np.zeros((6, 2, 12, 1))
    annotations = Annotations(maps, maps, label_values=numbers)
    options = {"batch_size": 2, "annotations": annotations}
    pairs = PairDataset(images, images, rng=np.random.default_rng(0), **options)
    seen = []
    for _ in range(8):
        for _, batch in (pairs[i] for i in range(3)):
            assert pairs.labels_at_once == 8
            assert batch["moving_labels"].shape == (2, 2, 12, 8)
            npt.assert_array_equal(batch["moving_labels"], batch["static_labels"])
            # Eight different labels, each in its own column.
            drawn = numbers @ batch["moving_labels"][0, 0]
            npt.assert_array_equal(batch["moving_labels"][1, 1].sum(0), 1)
            assert len(set(drawn)) == 8
            seen += [tuple(drawn)]
        pairs.on_epoch_end()
    assert len(set(seen)) > 20
    assert set(np.ravel(seen)) == set(numbers)
    # Validation draws none and has all of them.
    assert PairDataset(images, images, **options)[0][1]["static_labels"].shape[-1] == 12


def test_batch_without_annotations_holds_images_alone(images):
    assert set(PairDataset(images, images, batch_size=4)[0]) == {"moving", "static"}
    pairs = PairDataset(images, images, batch_size=4, annotations=Annotations())
    assert set(pairs[0]) == {"moving", "static"}


def test_annotations_of_the_caller_are_not_changed(images, annotate):
    annotations = annotate(images, images)
    before = annotations.map(lambda array, place: array.copy())
    pairs = PairDataset(images, images, batch_size=4, annotations=annotations)
    _ = pairs[0]
    for name, array in before.as_dict().items():
        npt.assert_array_equal(getattr(annotations, name), array)


@pytest.mark.parametrize("mirror", [0, 1])
def test_about_half_of_the_pairs_are_mirrored_with_their_annotations(mirror, rng):
    n, shape = 40, (5, 6)
    moving, static = rng.random((2, n, *shape, 1), dtype=np.float32)
    labels = rng.integers(0, 3, (2, n, *shape))
    landmarks = rng.uniform(0, 4, (2, n, 3, 2)).astype(np.float32)
    pairs = PairDataset(
        moving,
        static,
        batch_size=8,
        changes=Changes(mirror=mirror),
        rng=np.random.default_rng(0),
        annotations=Annotations(*labels, *landmarks, label_values=np.array([1, 2])),
    )
    kept = moving.copy()
    mirrored = 0
    for i, numbers in enumerate(pairs.moving_index.reshape(-1, 8)):
        images, annotations = pairs[i]
        for item, number in enumerate(numbers):
            flipped = np.any(images["moving"][item] != moving[number])
            mirrored += flipped
            axis = mirror if flipped else ()
            for name, source, maps, points in (
                ("moving", moving, labels[0], landmarks[0]),
                ("static", static, labels[1], landmarks[1]),
            ):
                npt.assert_array_equal(
                    images[name][item], np.flip(source[number], axis)
                )
                expected = one_hot(np.flip(maps[number], axis)[None], np.array([1, 2]))
                found = annotations[f"{name}_labels"][item]
                npt.assert_array_equal(found, expected[0])
                expected = points[number].copy()
                if flipped:
                    expected[:, mirror] = shape[mirror] - 1 - expected[:, mirror]
                npt.assert_array_equal(annotations[f"{name}_landmarks"][item], expected)
    assert 10 < mirrored < 30
    npt.assert_array_equal(moving, kept)


def test_augmented_pairs_are_new_in_each_epoch_and_the_same_for_a_seed(rng):
    images = rng.random((5, 16, 18, 1), dtype=np.float32)

    def make():
        rng, changes = np.random.default_rng(4), Changes(augment=True)
        return PairDataset(images, None, batch_size=2, changes=changes, rng=rng)

    pairs, again = make(), make()
    # The order in which threads ask for batches does not matter.
    first = [pairs[i]["moving"] for i in (0, 1, 2)]
    for i in (2, 0, 1):
        npt.assert_array_equal(again[i]["moving"], first[i])
    assert not np.allclose(first[0], images[pairs.moving_index[:2]])
    pairs.on_epoch_end()
    assert not np.allclose(pairs[0]["moving"], first[0])


def test_batch_is_shrunk(rng):
    images = rng.random((2, 5, 6, 1))
    annotations = Annotations(
        static_labels=np.ones((2, 5, 6), int),
        static_landmarks=np.array([[[0.5, 2.5], [4, 0]]]),
        label_values=np.array([1, 2]),
    )
    changes = Changes(shrunk_by=2)
    pairs = PairDataset(
        images, images, batch_size=2, changes=changes, annotations=annotations
    )
    batch, annotated = pairs[0]
    assert batch["moving"].shape == (2, 3, 3, 1)
    npt.assert_allclose(batch["static"][1, 1, 2], images[1, 2:4, 4:6].mean(), rtol=1e-6)
    npt.assert_allclose(batch["static"][1, 2, 0], images[1, 4:, :2].mean(), rtol=1e-6)
    npt.assert_array_equal(annotated["static_labels"], [[[[1, 0]] * 3] * 3] * 2)
    # The first voxel of the small image lies between the first two of the large one.
    expected = [[[0, 1], [1.75, -0.25]]] * 2
    npt.assert_allclose(annotated["static_landmarks"], expected)


LARGE = [
    ([0, 5, 4_000_000_000, 4_000_000_001], np.uint32),
    ([0, -(2**62), 7, 2**62 + 1], np.int64),
    ([0, 2**62, 2**62 + 1, 2**63 + 3], np.uint64),
]


@pytest.mark.parametrize("augment", [False, True])
@pytest.mark.parametrize(("labels", "dtype"), LARGE)
@pytest.mark.parametrize("shape", [(12, 13), (6, 7, 8)])
def test_large_labels_are_distinguished(labels, dtype, augment, shape, rng):
    images = rng.random((3, *shape))
    small = rng.integers(0, 4, (3, *shape))
    batches = []
    for maps in (small, np.array(labels, dtype)[small]):
        data = check_training_data(
            images, None, ndim=len(shape), num_channels=1, moving_labels=maps
        )
        generator = np.random.default_rng(1)
        changes = Changes(augment=augment)
        pairs = PairDataset(**data, batch_size=2, changes=changes, rng=generator)
        batches.append(pairs[0][1])
        order = np.argsort(np.argsort(labels[1:])) if maps is not small else [0, 1, 2]
        for name, fractions in batches[-1].items():
            batches[-1][name] = fractions[..., order]
    for name, fractions in batches[0].items():
        assert fractions.any(axis=tuple(range(fractions.ndim - 1))).all()
        npt.assert_array_equal(batches[1][name], fractions)


def test_signed_and_unsigned_labels_are_compared_exactly(rng):
    images = rng.random((2, 5, 5))
    moving = np.full((2, 5, 5), 2**53 + 1, np.uint64)
    static = np.full((2, 5, 5), 2**53, np.int64)
    layout = {"ndim": 2, "num_channels": 1}
    data = check_training_data(
        images, images, moving_labels=moving, static_labels=static, **layout
    )
    assert data["annotations"].label_values.tolist() == [2**53, 2**53 + 1]
    static[0], moving[0] = -1, 2**63
    with pytest.raises(ValueError, match="Expected labels that one type.*-1 to 9223"):
        check_training_data(
            images, images, moving_labels=moving, static_labels=static, **layout
        )


@pytest.mark.parametrize(
    "options",
    [
        {"static": None},
        {"static": None, "n": 1, "rng": np.random.default_rng(0)},
        {"changes": Changes(mirror=0)},
        {"changes": Changes(augment=1.0)},
    ],
)
def test_what_is_drawn_at_random_needs_a_generator_and_partners(options, images):
    options = {"static": images, "n": len(images), "batch_size": 1, **options}
    moving, static = images[: options.pop("n")], options.pop("static")
    with pytest.raises(ValueError, match="Expected rng, and two images"):
        PairDataset(moving, static, **options)
