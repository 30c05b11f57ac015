"""Put images together in pairs, for training and prediction."""

from math import ceil

import keras
import numpy as np


class Pairs(keras.utils.PyDataset):
    """Batches of a moving and a static image, in float32.

    Parameters
    ----------
    moving : ndarray, shape (n, *spatial, channels)
    static : ndarray, shape (1 or n, *spatial, channels), or None
        One for all, one for each, or None: any other of the moving images, drawn
        anew in each epoch. That needs two images and ``rng``.
    batch_size : int
    rng : numpy.random.Generator, optional
        Shuffles in each epoch. All batches then have one size, so that they compile
        once: the last one is filled from the start of the order.
    """

    def __init__(self, moving, static, *, batch_size, rng=None):
        super().__init__()
        self.moving, self.static = moving, static
        self.batch_size = min(batch_size, len(moving))
        self.rng = rng
        self.on_epoch_end()

    def __len__(self):
        return ceil(len(self.moving) / self.batch_size)

    def __getitem__(self, batch):
        window = slice(batch * self.batch_size, (batch + 1) * self.batch_size)
        static = self.moving if self.static is None else self.static
        return {
            "moving": self.moving[self.moving_index[window]].astype(np.float32),
            "static": static[self.static_index[window]].astype(np.float32),
        }

    def on_epoch_end(self):
        """Draw the order, and the partners, of the next epoch."""
        n = len(self.moving)
        if self.rng is None:
            index = np.arange(n)
        else:
            index = np.resize(self.rng.permutation(n), len(self) * self.batch_size)
        self.moving_index = index
        if self.static is None:
            self.static_index = (index + self.rng.integers(1, n, len(index))) % n
        else:
            self.static_index = index % len(self.static)
