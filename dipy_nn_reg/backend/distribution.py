"""Batches that several devices share, if the user has set a distribution of Keras."""

import keras


def devices_of_a_batch():
    """Return the number of devices that share a batch, those of all processes.

    Raises
    ------
    ValueError
        If there is a distribution that cannot share batches.
    """
    distribution = keras.distribution.distribution()
    if distribution is None:
        return 1
    backend = keras.backend.backend()
    if backend != "jax":
        raise ValueError(
            "Expected the backend JAX for a training on several devices. Received "
            f"a distribution with {backend}."
        )
    if not isinstance(distribution, keras.distribution.DataParallel):
        raise ValueError(
            "Expected a distribution of the data, keras.distribution.DataParallel. "
            f"Received {type(distribution).__name__}."
        )
    if _processes() > 1 and distribution.auto_shard_dataset:
        raise ValueError(
            "Expected DataParallel(auto_shard_dataset=False) in several processes, "
            "since each of them takes its part of a batch. Received "
            "auto_shard_dataset=True."
        )
    return distribution.device_mesh.devices.size


def check_not_shared(what):
    """Raise ValueError if several devices would share the batches of some work.

    Parameters
    ----------
    what : str
        The work, in the message.
    """
    if (devices := devices_of_a_batch()) > 1:
        raise ValueError(
            f"Expected a single device for {what}: end the distribution by "
            f"keras.distribution.set_distribution(None). Received {devices} devices."
        )


def own_part(size):
    """Return the slice of a batch that this process gives to its devices.

    Parameters
    ----------
    size : int
        Number of items in a batch of all processes.
    """
    if keras.distribution.distribution() is None:
        return slice(None)
    import jax

    part = size // _processes()
    return slice(jax.process_index() * part, (jax.process_index() + 1) * part)


def _processes():
    import jax

    return jax.process_count()
