"""Operations on tensors that one backend alone has, or does better."""

import keras


def for_backend(function, *, torch):
    """Return the implementation of a function for the backend in use.

    Parameters
    ----------
    function : callable
        For all backends.
    torch : callable
        For PyTorch, where it is faster.

    Returns
    -------
    function : callable
    """
    return torch if keras.backend.backend() == "torch" else function


def from_sizes(function, *sizes):
    """Compute a matrix with NumPy from sizes, which may be unknown to TensorFlow.

    Parameters
    ----------
    function : callable
        Takes integers and returns a matrix of float32.
    *sizes : int or tensor
        A tensor where TensorFlow traces a function for images of any size.

    Returns
    -------
    matrix : ndarray or tensor
    """
    if all(isinstance(size, int) for size in sizes):
        return function(*sizes)
    import tensorflow as tf

    matrix = tf.numpy_function(
        lambda *values: function(*map(int, values)), sizes, tf.float32
    )
    matrix.set_shape((None, None))
    return matrix


def take_rows(values, index):
    """Take rows by valid indices from 0 on; negative ones are not supported.

    Parameters
    ----------
    values : tensor, shape (n, any)
    index : tensor of int

    Returns
    -------
    rows : tensor, shape (*index.shape, any)
    """
    if keras.backend.backend() == "tensorflow":
        import tensorflow as tf

        return tf.gather(values, index)
    return keras.ops.take(values, index, axis=0)


def grid_sample(field, positions):
    """Sample a field with its border repeated, by PyTorch's own function.

    Parameters
    ----------
    field : torch.Tensor, shape (batch, *spatial, ndim)
    positions : list of torch.Tensor, shape (batch, *any)
        Positions in voxels along each axis. If the batch of the field or of the
        positions is 1, it is used for all items of the other.

    Returns
    -------
    values : torch.Tensor, shape (batch, *any, ndim)
    """
    import torch

    positions = torch.stack(positions, -1)
    batch = max(len(field), len(positions))
    field, positions = (t.expand(batch, *t.shape[1:]) for t in (field, positions))
    # PyTorch counts from -1 to 1, the last axis first; an axis of one voxel has no
    # length.
    last = [max(size - 1, 1) for size in field.shape[1:-1]]
    last = torch.tensor(last, dtype=positions.dtype, device=positions.device)
    values = torch.nn.functional.grid_sample(
        field.movedim(-1, 1),
        (2 * positions / last - 1).flip(-1),
        padding_mode="border",
        align_corners=True,
    )
    return values.movedim(1, -1)
