"""Dataset of pairs of images in batches, for training and prediction."""

from functools import partial
from math import ceil
from typing import NamedTuple

import keras
from keras import ops
import numpy as np

from dipy_nn_reg.annotations import Annotations
from dipy_nn_reg.backend import own_part
from dipy_nn_reg.checks import is_any
from dipy_nn_reg.losses.supervision import one_hot
from dipy_nn_reg.training.augmentation import augment
from dipy_nn_reg.transform.pyramid import shrink

# Number of threads that make batches, and of batches that wait for the next step: few,
# since a batch of volumes is large.
WORKERS, MAX_WAITING = 2, 2
# Largest number of labels in one batch. If there are more, this many are drawn for each
# batch: on average that gives the gradient of all, in a fraction of time and memory.
LABELS_AT_ONCE = 8


class Changes(NamedTuple):
    """Changes to the images of a batch, and to their annotations.

    Attributes
    ----------
    mirror : int, optional
        Spatial axis along which half of the pairs are mirrored, drawn anew in each
        epoch.
    augment : bool or float, optional
        Deform the images and change their contrast, anew in each epoch, see
        :mod:`dipy_nn_reg.training.augmentation`.
    shrunk_by : int, optional
        Power of two by which the batch is shrunk after all other changes.
    """

    mirror: int | None = None
    augment: bool | float = False
    shrunk_by: int = 1


NO_CHANGES = Changes()


class PairDataset(keras.utils.PyDataset):
    """Batches of a moving and a static image, in float32.

    Parameters
    ----------
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray, shape (1 or n, *spatial, channels), or None
        One for all, one for each, or None: any other of the moving images, drawn
        anew in each epoch. That needs two images and ``rng``.
    batch_size : int
    annotations : Annotations, optional
        Annotations of the images, as
        :func:`~dipy_nn_reg.training.data_checks.check_annotations` returns them. A
        batch is then a tuple of two dictionaries, the images and the annotations.
    changes : Changes, optional
        Mirroring and augmentation need ``rng``.
    smoothness : float or "any", optional
        That of each pair, which a batch then has as well, shape (n, 1); or "any" for
        one that is drawn anew in each epoch, evenly between 0 and 1, which needs
        ``rng``.
    rng : numpy.random.Generator, optional
        Source of the order of the images, shuffled in each epoch, and of the labels of
        each batch if there are many. All batches then have one size, so that they
        compile once: the last one is filled from the start of the order.
    first_drawn_from : dict, optional
        State of ``rng`` from which the first epoch is drawn, however often Keras asks
        for another order before that epoch begins.

    Raises
    ------
    ValueError
        If the static images, or ``rng``, are missing where they are needed.
    """

    def __init__(
        self,
        moving,
        static,
        *,
        batch_size,
        annotations=None,
        changes=NO_CHANGES,
        smoothness=None,
        rng=None,
        first_drawn_from=None,
    ):
        changed = changes.augment or changes.mirror is not None
        is_random = static is None or changed or is_any(smoothness)
        if (is_random and rng is None) or (static is None and len(moving) < 2):
            raise ValueError(
                "Expected rng, and two images or more without static ones, for pairs "
                f"that are drawn, mirrored, augmented or of any smoothness. Received "
                f"rng={rng!r} and {len(moving)} moving images."
            )
        super().__init__(workers=WORKERS, max_queue_size=MAX_WAITING)
        self.moving, self.static = moving, static
        self.annotations = annotations or Annotations()
        self.labels = self.annotations.label_values
        self.batch_size = min(batch_size, len(moving))
        self.changes, self.rng = changes, rng
        self.smoothness = smoothness
        self.first_drawn_from = first_drawn_from
        self.on_epoch_end()

    @property
    def labels_at_once(self):
        """Number of labels in a batch."""
        return 0 if self.labels is None else len(self.drawn[0])

    def __len__(self):
        return ceil(len(self.moving) / self.batch_size)

    def __getitem__(self, batch):
        # Each process makes whole batches, so that all of them draw the same pairs.
        return keras.tree.map_structure(
            lambda array: array[own_part(len(array))], self.whole_batch(batch)
        )

    def whole_batch(self, batch):
        """Return a batch of all processes, by its number."""
        window = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        moving, static = self.moving_index[window], self.static_index[window]
        static_images = self.moving if self.static is None else self.static
        images = {
            "moving": self.moving[moving].astype(np.float32, copy=False),
            "static": _pick(static_images, static).astype(np.float32, copy=False),
        }
        index = {"moving": moving, "static": static}
        annotations = self.annotations.map(partial(self._pick, index=index))
        mirror, strength, shrunk_by = self.changes
        if mirror is not None:
            chosen = self.mirrored[window]
            for image in images.values():
                image[chosen] = np.flip(image[chosen], axis=1 + mirror)
            annotations = annotations.map(partial(self._mirror, chosen=chosen))
        if strength:
            # Threads make batches in any order, so each batch has a seed of its own.
            rng = np.random.default_rng([self.epoch_seed, batch])
            images, annotations = augment(
                images, annotations, rng, strength=float(strength)
            )
        # After augmentation, since fractions of labels need far more memory than maps.
        annotations = annotations.map(partial(self._one_hot, drawn=self.drawn[batch]))
        if shrunk_by > 1:
            images = {name: self._shrink(image) for name, image in images.items()}
            annotations = annotations.map(self._shrink)
        if self.smoothness is not None:
            images["smoothness"] = self.dials[window]
        annotations = annotations.as_dict()
        return (images, annotations) if annotations else images

    def _pick(self, array, place, index):
        chosen = _pick(array, index[place.image])
        if place.kind != "labels":
            return chosen.astype(np.float32)
        # Augmentation runs on a backend, which may not know this type of integers.
        if self.changes.augment:
            chosen = _codes(chosen, self.labels)
        return chosen[..., None]

    def _mirror(self, array, place, chosen):
        """Mirror the chosen items of an array in place."""
        axis = self.changes.mirror
        if place.kind == "landmarks":
            last = self.moving.shape[1 + axis] - 1
            array[chosen, :, axis] = last - array[chosen, :, axis]
        else:
            array[chosen] = np.flip(array[chosen], axis=1 + axis)
        return array

    def _one_hot(self, array, place, drawn):
        """Turn label maps into the fractions of the labels that were drawn."""
        if place.kind != "labels":
            return array
        labels = _codes(drawn, self.labels) if self.changes.augment else drawn
        return one_hot(array[..., 0], labels)

    def _shrink(self, array, place=None):
        if place is not None and place.kind == "landmarks":
            # Voxel coordinates are those of the centres of voxels.
            return (array + 0.5) / self.changes.shrunk_by - 0.5
        return ops.convert_to_numpy(shrink(array, self.changes.shrunk_by))

    def on_epoch_begin(self):
        self.first_drawn_from = None

    def on_epoch_end(self):
        """Draw the order, and the partners, of the next epoch."""
        n = len(self.moving)
        if self.first_drawn_from is not None:
            self.rng.bit_generator.state = self.first_drawn_from
        # State from which a resumed training draws the same order again.
        self.drawn_from = None if self.rng is None else self.rng.bit_generator.state
        if self.rng is None:
            index = np.arange(n)
        else:
            index = np.resize(self.rng.permutation(n), len(self) * self.batch_size)
        self.moving_index = self.static_index = index
        if self.static is None:
            self.static_index = (index + self.rng.integers(1, n, len(index))) % n
        if self.changes.mirror is not None:
            self.mirrored = self.rng.random(len(index)) < 0.5
        self.drawn = [self.labels] * len(self)
        if self.rng is not None and np.size(self.labels) > LABELS_AT_ONCE:
            draw = partial(self.rng.choice, self.labels, LABELS_AT_ONCE, replace=False)
            self.drawn = [draw() for _ in self.drawn]
        if self.changes.augment:
            self.epoch_seed = int(self.rng.integers(2**31))
        if is_any(self.smoothness):
            self.dials = self.rng.random((len(index), 1), np.float32)
        elif self.smoothness is not None:
            self.dials = np.full((len(index), 1), self.smoothness, np.float32)


def _codes(values, labels):
    """Return the position of each value among the labels, from 1; 0 if it is no label.

    Examples
    --------
    >>> _codes(np.array([0, 7, 5]), np.array([5, 7])).tolist()
    [0, 2, 1]
    """
    positions = np.searchsorted(labels, values)
    is_label = labels[np.minimum(positions, len(labels) - 1)] == values
    return np.where(is_label, positions + 1, 0).astype(np.int32)


def _pick(array, index):
    """Return items of an array by index; a single item serves all pairs."""
    return array[index % len(array)]
