"""Training of a network: options and data are checked, then Keras trains it."""

from functools import partial
from typing import NamedTuple

from dipy_nn_reg.checks import check_integer, check_number
from dipy_nn_reg.losses.choices import takes_mask
from dipy_nn_reg.memory import check_memory
from dipy_nn_reg.training.dataset import PairDataset
from dipy_nn_reg.training.divergence import StopAtDivergence
from dipy_nn_reg.training.memory import memory_to_train
from dipy_nn_reg.training.optimizers import add_cosine_rate
from dipy_nn_reg.training.state import (
    TrackState,
    describe,
    epochs_done,
    finished_state,
    make_generator,
)


class FitOptions(NamedTuple):
    """Options of a training, see :meth:`~dipy_nn_reg.registration.Registration.fit`."""

    epochs: int
    warm_up: int
    batch_size: int
    mirror: int | None
    augment: bool | float
    resume: bool

    def check(self, ndim):
        """Raise ValueError unless each option is in its range.

        Parameters
        ----------
        ndim : int
            Number of spatial axes.
        """
        check_integer("epochs", self.epochs, lowest=1)
        check_integer("warm_up", self.warm_up, lowest=0)
        check_integer("batch_size", self.batch_size, lowest=1)
        if self.mirror is not None:
            check_integer("mirror", self.mirror, lowest=0)
            if self.mirror >= ndim:
                raise ValueError(
                    f"Expected mirror to be an axis of the images, of which there are "
                    f"{ndim}. Received mirror={self.mirror}."
                )
        if not isinstance(self.augment, bool):
            check_number("augment", self.augment, or_zero=True)


def check_annotations_fit(annotations, *, loss, augment=False):
    """Raise ValueError unless annotations fit the loss and the augmentation.

    Parameters
    ----------
    annotations : Annotations
    loss : str or callable
    augment : bool or float, optional
    """
    if annotations.mask is not None and not takes_mask(loss):
        raise ValueError(
            f"Expected a loss that takes a mask, loss(static, warped, *, mask). "
            f"Received loss={loss!r} and a mask."
        )
    if augment and annotations.static_landmarks is not None:
        raise ValueError(
            f"Expected augment=False with landmarks. Received augment={augment!r}."
        )


def fit(model, data, validation, options, *, callbacks, verbose):
    """Train a network on checked data, or go on with a training.

    Parameters
    ----------
    model : RegistrationModel
    data : dict
        As of :func:`~dipy_nn_reg.training.data_checks.check_training_data`.
    validation : dict or None
    options : FitOptions
    callbacks, verbose
        As for :meth:`~dipy_nn_reg.registration.Registration.fit`.

    Returns
    -------
    history : keras.callbacks.History
    """
    batch_size = int(options.batch_size)  # that of NumPy may be of 8 bits
    if validation is not None:
        validation = PairDataset(**validation, batch_size=batch_size)
    setup = describe(data, options)
    done = epochs_done(model.state, setup) if options.resume else 0
    rng = make_generator(model.state)
    draw = partial(
        PairDataset,
        **data,
        batch_size=batch_size,
        mirror=options.mirror,
        augment=options.augment,
        rng=rng,
    )
    pairs = draw(first_drawn_from=model.state["random"] if options.resume else None)
    _check_memory(model, pairs, validation)
    learning_rate = model.options["learning_rate"]
    if not options.resume:
        model.state = finished_state(rng, model.state["trained"])
        if learning_rate is not None:  # where an earlier fit has left another one
            model.optimizer.learning_rate = learning_rate
    # Pairs are drawn at random; Keras would ignore the seed.
    train = partial(model.fit, shuffle=False, verbose=verbose)
    if options.warm_up and not options.resume:
        warm_up = [StopAtDivergence("warm-up epoch")]
        warm_up += add_cosine_rate(None, learning_rate)
        train(draw(shrunk_by=2), epochs=options.warm_up, callbacks=warm_up)
        model.make_train_function(force=True)  # for images of another size
    callbacks = add_cosine_rate(callbacks, learning_rate, epochs_done=done)
    return train(
        pairs,
        initial_epoch=done,
        epochs=options.epochs,
        validation_data=validation,
        callbacks=[TrackState(pairs, setup), StopAtDivergence(), *callbacks],
    )


def _check_memory(model, pairs, validation):
    """State the memory that a step needs, and refuse what does not fit."""
    shape = (pairs.batch_size, *pairs.moving.shape[1:])
    labels = pairs.labels_at_once
    if validation is not None:
        labels = max(labels, validation.labels_at_once)
    check_memory(
        memory_to_train(model, shape, labels),
        what=f"Training on {pairs.batch_size} pairs at a time of {shape[1:-1]}",
        advice="A smaller batch_size, a larger field_stride, a loss other than "
        "'mi' or 'mind', or images of larger voxels need less.",
    )
