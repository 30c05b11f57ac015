"""Pairs of images with a known relation, on which verdicts are calibrated.

Brains, hippocampi and slices: turned, shifted and scaled images; other people; other
contrasts; parts of images, also in volumes that are blank elsewhere; noise; lesions;
other organs and nonsense; and starts from a wrong affine.
"""

from typing import NamedTuple

from nibabel.affines import apply_affine
import numpy as np
from scipy.ndimage import gaussian_filter
from scipy.spatial.transform import Rotation

STILL = np.eye(4)


def brains(folder):
    """Return images, label maps and the affine of fifteen people."""
    data = np.load(folder / "malf" / "malf_dev_2mm.npz")
    return data["images"], data["labels30"], data["affine"]


class Case(NamedTuple):
    """A pair, how it is registered, and what is true.

    Attributes
    ----------
    name : str
    half : {0, 1}
    pair : tuple
        Moving image, its affine, static image, its affine.
    labels : dict of ndarray or None
        Label maps, ``moving`` and ``static``.
    truth : ndarray or None
        Affine from static to moving world coordinates. None with labels, and for images
        that have nothing in common.
    prealign : ndarray or str
    """

    name: str
    half: int
    pair: tuple
    labels: dict | None = None
    truth: np.ndarray | None = None
    prealign: object = "auto"


def cases(folder):
    """Yield all cases."""
    rng = np.random.default_rng(0)
    images, labels, affine = brains(folder)
    for number, static in enumerate(images):
        other = (number + 3) % len(images)
        maps = {"moving": labels[other], "static": labels[number]}
        yield from _two_people(rng, number % 2, images[other], static, affine, maps)
        yield from _one_person(rng, number % 2, static, affine)
        for name, image in _nonsense(rng, static).items():
            yield Case(name, number % 2, (image, affine, static, affine))
    yield from _hippocampi(folder, rng)
    yield from _slices(folder, rng)


def _two_people(rng, half, moving, static, affine, labels):
    def case(name, image, header=STILL, **options):
        pair = image, header @ affine, static, affine
        return Case(name, half, pair, labels, **options)

    def turn():
        return _turn(rng, affine, static.shape)

    yield case("as stored", moving)
    yield case("turned", moving, turn())
    inverted = np.where(moving > 20, 275 - moving.astype(float), 0)
    yield case("inverted", inverted, turn())
    yield case("noise", moving + rng.normal(0, 25, moving.shape))
    yield case("lesion", _with_lesion(moving, rng))
    for angle in (25, 60, 120, 180):
        wrong = _turn(rng, affine, static.shape, angle=angle, shift=10)
        yield case(f"start {angle} degrees off", moving, prealign=wrong)


def _one_person(rng, half, static, affine):
    for part, box in _parts(static.shape).items():
        place = affine.copy()
        place[:3, 3] = apply_affine(affine, [s.start or 0 for s in box])
        cut = static[box] + rng.normal(0, 3, static[box].shape)
        padded = np.zeros_like(static)
        padded[box] = static[box]
        near = _turn(rng, affine, static.shape, angle=rng.uniform(0, 12), shift=8)
        far = _turn(rng, affine, static.shape)
        for name, truth in ((part, near), (f"{part}, turned", far)):
            yield Case(name, half, (cut, truth @ place, static, affine), truth=truth)
            name = name.replace(part, f"{part}, padded")
            yield Case(
                name, half, (padded, truth @ affine, static, affine), truth=truth
            )
        pair = static, near @ affine, cut, place
        yield Case(f"static {part}", half, pair, truth=near)


def _nonsense(rng, static):
    """Return images that have nothing in common with a brain, by name."""
    noise = gaussian_filter(rng.normal(size=static.shape), 1)
    return {"blobs": _blobs(rng, static.shape), "texture": 400 * noise * (static > 0)}


def _hippocampi(folder, rng):
    data = np.load(folder / "hippocampus" / "hippocampus_dev_48x64x48.npz")
    crops, maps = data["images"], data["labels"]
    images, _, affine = brains(folder)
    for i in range(0, 40, 2):
        half, moving, static = i // 2 % 2, crops[i + 1], crops[i]
        labels = {"moving": maps[i + 1], "static": maps[i]}
        turned = _turn(rng, STILL, static.shape)
        yield Case("hippocampus", half, (moving, STILL, static, STILL), labels)
        yield Case("hippocampus, turned", half, (moving, turned, static, STILL), labels)
        brain = images[i // 2 % len(images)]
        yield Case("hippocampus to brain", half, (moving, STILL, brain, affine))


def _slices(folder, rng):
    data, still = np.load(folder / "malf" / "malf_dev_2d.npz"), np.eye(3)
    slices, maps = data["coronal"], data["coronal_labels30"]
    for i, static in enumerate(slices):
        other, half = (i + 4) % len(slices), i % 2
        moving, labels = slices[other], {"moving": maps[other], "static": maps[i]}
        turned = _turn_2d(rng, len(static))
        wrong = _turn_2d(rng, len(static), rng.choice([90, 180, 270]))
        pair = moving, still, static, still
        yield Case("slice", half, pair, labels)
        yield Case("slice, turned", half, (moving, turned, static, still), labels)
        yield Case("slice, wrong start", half, pair, labels, prealign=wrong)
        blobs = _blobs(rng, static.shape)
        yield Case("slice, blobs", half, (blobs, still, static, still))


def _turn(rng, affine, shape, *, angle=None, shift=100):
    """Return a rotation about the middle of an image, and a shift."""
    rotation = Rotation.random(rng=rng)
    if angle is not None:
        axis = rng.normal(size=3)
        rotation = Rotation.from_rotvec(np.radians(angle) * axis / np.linalg.norm(axis))
    middle = apply_affine(affine, (np.array(shape) - 1) / 2)
    turn = np.eye(4)
    turn[:3, :3] = rotation.as_matrix()
    turn[:3, 3] = middle - turn[:3, :3] @ middle + rng.uniform(-shift, shift, 3)
    return turn


def _turn_2d(rng, size, angle=None):
    radians = np.radians(rng.uniform(0, 360) if angle is None else angle)
    turn = np.eye(3)
    cosine, sine = np.cos(radians), np.sin(radians)
    turn[:2, :2] = [[cosine, -sine], [sine, cosine]]
    middle = np.full(2, size / 2)
    turn[:2, 2] = middle - turn[:2, :2] @ middle + rng.uniform(-20, 20, 2)
    return turn


def _parts(shape):
    x, y, z = shape
    return {
        "half": (slice(0, x // 2), slice(None), slice(None)),
        "slab": (slice(None), slice(None), slice(z // 2 - 8, z // 2 + 8)),
        "cube": tuple(slice(n, n + 24) for n in (x // 2, y // 3, z // 3)),
    }


def _blobs(rng, shape):
    """Return smooth blobs in an ellipsoid."""
    grid = np.indices(shape) - (np.array(shape).reshape(-1, *[1] * len(shape)) - 1) / 2
    radii = rng.uniform(0.25, 0.45, len(shape)) * shape
    inside = sum((g / r) ** 2 for g, r in zip(grid, radii)) < 1
    noise = gaussian_filter(rng.normal(size=shape), 4)
    return np.where(inside, 128 + 100 * noise / np.abs(noise).max(), 0)


def _with_lesion(image, rng):
    center = np.argwhere(image > 60)[rng.integers((image > 60).sum())]
    distance = np.linalg.norm(np.argwhere(np.ones(image.shape)) - center, axis=1)
    return np.where(distance.reshape(image.shape) < 9, 0, image)
