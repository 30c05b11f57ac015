"""State of a training at the end of an epoch, from which it can resume bit for bit.

The state is part of the configuration of a model, so that one ``.keras`` file is
enough::

    {"random": state of the NumPy generator, before the next pairs are drawn,
     "trained": number of epochs of all trainings, without those of a warm-up,
     "unfinished": None, or {"done": epochs done, **result of describe()},
     "seeds": in a file, seeds of layers such as Dropout, which Keras does not save}
"""

import keras
import numpy as np

from dipy_nn_reg.checks import check_integer


class ResumeError(ValueError):
    """A training that cannot be resumed, or not with these data and options."""


class TrackState(keras.callbacks.Callback):
    """Update the state of the training in the model, for callbacks that save it.

    A training cannot be resumed in the middle of an epoch, since the rest of the epoch
    would be drawn anew.

    Parameters
    ----------
    pairs : PairDataset
        Training data.
    setup : dict
        Result of :func:`describe`.
    """

    def __init__(self, pairs, setup):
        super().__init__()
        self.pairs, self.setup = pairs, setup

    def on_epoch_begin(self, epoch, logs=None):
        self._finish()

    def on_epoch_end(self, epoch, logs=None):
        self.trained += 1
        self._finish()
        done = epoch + 1
        if done < self.setup["epochs"]:
            unfinished = {"done": done, **self.setup}
            drawn = {"random": self.pairs.drawn_from, "unfinished": unfinished}
            self.model.state = self.model.state | drawn

    def on_train_begin(self, logs=None):
        self.trained = self.model.state["trained"]

    def on_train_end(self, logs=None):
        self._finish()  # a callback may have stopped the training early

    def _finish(self):
        self.model.state = finished_state(self.pairs.rng, self.trained)


def finished_state(rng, trained=0):
    """Return the state of a model without a training to resume.

    Parameters
    ----------
    rng : numpy.random.Generator
    trained : int, optional
        Number of epochs of all trainings.
    """
    random = rng.bit_generator.state
    return {"random": random, "trained": trained, "unfinished": None}


def make_generator(state):
    """Return a NumPy generator in the state that a model stores."""
    rng = np.random.default_rng()
    rng.bit_generator.state = state["random"]
    return rng


def get_seeds(model):
    """Return the seeds of layers with random numbers, such as Dropout."""
    return [
        keras.ops.convert_to_numpy(variable).tolist()
        for variable in _seed_variables(model)
    ]


def set_seeds(model, seeds):
    """Set the seeds that :func:`get_seeds` has returned.

    Raises
    ------
    ValueError
        If the number of seeds is not that of the model.
    """
    variables = _seed_variables(model)
    if not isinstance(seeds, list) or len(seeds) != len(variables):
        raise ValueError(f"Expected {len(variables)} seeds. Received {seeds!r:.200}.")
    for variable, seed in zip(variables, seeds):
        variable.assign(np.array(seed, variable.dtype))


def _seed_variables(model):
    others = {id(v) for v in [*model.weights, *model.metrics_variables]}
    return [v for v in model.variables if id(v) not in others]


def describe(data, options):
    """Return the properties of data and options that a resumed training must share.

    Parameters
    ----------
    data : dict
        As :func:`~dipy_nn_reg.training.data_checks.check_training_data` returns it.
    options : FitOptions

    Returns
    -------
    setup : dict
        Plain values, which a file can hold.
    """
    static, labels = data["static"], data["annotations"].label_values
    return {
        "epochs": int(options.epochs),
        "batch_size": min(int(options.batch_size), len(data["moving"])),
        "mirror": None if options.mirror is None else int(options.mirror),
        "augment": float(options.augment),
        "number of moving images": len(data["moving"]),
        "number of static images": 0 if static is None else len(static),
        "size of the images": list(data["moving"].shape[1:-1]),
        "number of labels": 0 if labels is None else len(labels),
    }


def epochs_done(state, setup):
    """Return the number of epochs done in an interrupted training.

    Raises
    ------
    ResumeError
        If no training was interrupted, or if its data or options were different.
    """
    unfinished = state["unfinished"]
    if unfinished is None:
        raise ResumeError(
            "Expected a model that was saved at the end of an epoch, before the last "
            "one of its training, with resume=True. Received one without such a "
            "training."
        )
    for name, value in setup.items():
        if unfinished.get(name) != value:
            raise ResumeError(
                f"Expected the data and options of the training that was interrupted: "
                f"{name}={unfinished.get(name)}. Received {name}={value}."
            )
    return unfinished["done"]


def check_state(state):
    """Raise ValueError unless a training can resume from a state in a file.

    Parameters
    ----------
    state : dict
    """
    try:
        make_generator(state)
        check_integer("trained", state["trained"], lowest=0)
        unfinished = state["unfinished"]
        if unfinished is not None:
            check_integer("done", unfinished["done"], lowest=1)
            check_integer("epochs", unfinished["epochs"], lowest=1)
    except Exception as error:  # NumPy raises several types for an invalid state
        raise ValueError(
            f"Expected the state of a training. Received {str(state)[:200]}: {error}"
        ) from error
