"""The command that learns to register MNIST digits, beside DIPY's SyN."""

from math import ceil
from pathlib import Path
import sys

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
import numpy as np

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.data import load_mnist
from dipy_nn_reg.files import whole_file
from dipy_nn_reg.progress import keras_verbosity
from dipy_nn_reg.tables import write_csv
from dipy_nn_reg.workflows.paths import check_outputs
from dipy_nn_reg.workflows.quiet import import_keras

# What a digit of MNIST needs to be clearly ahead of SyN: batches of training.
TRAINING_STEPS = 1600
BATCH_SIZE = 32
# Where images are few, an epoch is short and costs more than its batches.
MOST_EPOCHS = 200
# A twentieth of them is for validation, and a pair is two.
FEWEST_IMAGES = 40
# Pairs in the figure, and what it can be written as.
ROWS = 6
FIGURES = {".jpg", ".pdf", ".png", ".svg"}
OUTPUTS = ("out_model", "out_metrics", "out_figure", "out_history")


class MnistFlow(Workflow):
    @classmethod
    def get_short_name(cls):
        return "nn_reg_mnist"

    def run(
        self,
        digit=7,
        epochs=None,
        folder=None,
        seed=0,
        syn_pairs=20,
        out_dir="",
        out_model="model.keras",
        out_metrics="metrics.csv",
        out_figure="registration.png",
        out_history="history.png",
    ):
        """Learn to register MNIST digits, and compare with DIPY's SyN.

        A network is trained on random pairs of one digit's training images. It then
        registers the test images of that digit to one of them, and SyN registers a
        sample of the same pairs.

        Parameters
        ----------
        digit : int, optional
            Digit to register, 0 to 9.
        epochs : int, optional
            How often each training image is seen. By default as often as 1,600
            batches of 32 pairs allow, but 200 times at most.
        folder : string or Path, optional
            Folder with the four IDX files of MNIST. By default the folder that the
            environment variable DIPY_NN_REG_MNIST names, else a download.
        seed : int, optional
            Seed of the weights, the pairs and the choice of test images.
        syn_pairs : int, optional
            Number of pairs to compare with SyN.
        out_dir : string or Path, optional
            Output directory.
        out_model : string, optional
            Name of the trained model.
        out_metrics : string, optional
            Name of the table of measures.
        out_figure : string, optional
            Name of the figure of registered digits.
        out_history : string, optional
            Name of the figure of the training.
        """
        check_integer("seed", seed, lowest=0)
        check_integer("syn_pairs", syn_pairs, lowest=1)
        if epochs is not None:
            check_integer("epochs", epochs, lowest=1)
        (train, _), (test, _) = load_mnist(folder, digit=digit)
        if len(train) < FEWEST_IMAGES or len(test) < 2:
            raise ValueError(
                f"Expected {FEWEST_IMAGES} training images and two test images of the "
                f"digit {digit}, or more. Received {len(train)} and {len(test)}."
            )
        _check_ending("out_model", out_model, {".keras"})
        _check_ending("out_figure", out_figure, FIGURES)
        _check_ending("out_history", out_history, FIGURES)
        names = (out_model, out_metrics, out_figure, out_history)
        paths = [Path(out_dir, name) for name in names]
        check_outputs(self, [dict(zip(OUTPUTS, paths))])
        model_path, metrics_path, figure_path, history_path = paths

        import_keras()
        from dipy_nn_reg import DeformableRegistration, viz
        from dipy_nn_reg.compare import compare_with_syn, format_table, table_rows

        validation, train = np.split(train, [len(train) // 20])
        if epochs is None:
            epochs = ceil(TRAINING_STEPS * BATCH_SIZE / len(train))
            epochs = min(epochs, MOST_EPOCHS)
        registration = DeformableRegistration(input_shape=train.shape[1:], seed=seed)
        history = registration.fit(
            train,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            validation_data=(validation, None),
            verbose=keras_verbosity(sys.stdout.isatty()),
        )
        registration.save(model_path)
        _save_figure(viz.plot_history(history.history), history_path)

        # One test image is static; the others of its digit are registered to it.
        static, *moving = np.random.default_rng(seed).permutation(test)
        moving = np.stack(moving)
        table = compare_with_syn(registration, moving, static, syn_pairs=syn_pairs)
        write_csv(table_rows(table), metrics_path)
        pairs = min(syn_pairs, len(moving))
        logger.info(f"Means of {pairs} pairs of test images:\n{format_table(table)}")

        moving = moving[:ROWS]
        figure = viz.plot_registration(
            moving,
            static,
            registration.predict(moving, static),
            registration.predict_field(moving, static),
        )
        _save_figure(figure, figure_path)
        logger.info(f"Results are in {Path(out_dir).resolve()}")


def _check_ending(option, name, endings):
    if Path(name).suffix not in endings:
        raise ValueError(
            f"Expected {option} to end with one of {sorted(endings)}. "
            f"Received {name!r}."
        )


def _save_figure(figure, path):
    import matplotlib.pyplot as plt

    with whole_file(path) as partial:
        figure.savefig(partial, dpi=100)
    plt.close(figure)
