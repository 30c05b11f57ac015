"""Command that trains a model on MNIST digits and compares it with DIPY's SyN."""

from math import ceil
import os
from pathlib import Path
import sys

from dipy.utils.logging import logger
from dipy.workflows.workflow import Workflow
import numpy as np

from dipy_nn_reg.checks import check_integer
from dipy_nn_reg.data.mnist import MNIST_VARIABLE, load_mnist
from dipy_nn_reg.io.atomic import whole_file, whole_files
from dipy_nn_reg.io.tables import write_csv
from dipy_nn_reg.progress import keras_verbosity
from dipy_nn_reg.quiet import import_keras
from dipy_nn_reg.text import printable
from dipy_nn_reg.workflows.output_checks import ENDINGS, check_outputs

# Number of training batches after which a model is clearly better than SyN.
TRAINING_STEPS = 1600
# Number of pairs in a batch.
BATCH_SIZE = 32
# Largest default number of epochs. With few images, an epoch is short, and its fixed
# cost exceeds that of its batches.
MAX_EPOCHS = 200
# Smallest number of training images: a twentieth is for validation, where a pair needs
# two.
MIN_IMAGES = 40
# Number of pairs in the figure.
ROWS = 6
# Endings of the names of figures.
FIGURES = (".jpg", ".pdf", ".png", ".svg")


class MnistFlow(Workflow):
    """Train a model on MNIST digits and compare it with DIPY's SyN."""

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
        """Train a model to register MNIST digits, and compare it with DIPY's SyN.

        A network is trained on random pairs of one digit's training images. It then
        registers the test images of that digit to one of them, and SyN registers a
        sample of the same pairs.

        Parameters
        ----------
        digit : int, optional
            Digit to register, 0 to 9.
        epochs : int, optional
            Number of epochs; in each, every training image is used once. By default as
            many as make 1,600 batches of 32 pairs, but 200 at most.
        folder : string or Path, optional
            Folder with the four IDX files of MNIST. By default the folder in the
            environment variable DIPY_NN_REG_MNIST; without it, they are downloaded.
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
        if len(train) < MIN_IMAGES or len(test) < 2:
            raise ValueError(
                f"Expected {MIN_IMAGES} training images and two test images of the "
                f"digit {digit}, or more. Received {len(train)} and {len(test)}."
            )
        names = {
            "out_model": out_model,
            "out_metrics": out_metrics,
            "out_figure": out_figure,
            "out_history": out_history,
        }
        paths = {option: Path(out_dir, name) for option, name in names.items()}
        folder = folder or os.environ.get(MNIST_VARIABLE)
        check_outputs(
            self,
            [paths],
            list(Path(folder).iterdir()) if folder else [],
            endings={**ENDINGS, "out_figure": FIGURES, "out_history": FIGURES},
        )

        import_keras()
        from dipy_nn_reg import DeformableRegistration, viz
        from dipy_nn_reg.quality.beside_syn import (
            compare_with_syn,
            format_table,
            table_rows,
        )

        validation, train = np.split(train, [len(train) // 20])
        if epochs is None:
            epochs = ceil(TRAINING_STEPS * BATCH_SIZE / len(train))
            epochs = min(epochs, MAX_EPOCHS)
        registration = DeformableRegistration(input_shape=train.shape[1:], seed=seed)
        history = registration.fit(
            train,
            epochs=epochs,
            batch_size=BATCH_SIZE,
            validation_data=(validation, None),
            verbose=keras_verbosity(sys.stdout.isatty()),
        )
        # One test image is static; the others of its digit are registered to it.
        static, *moving = np.random.default_rng(seed).permutation(test)
        moving = np.stack(moving)
        table = compare_with_syn(registration, moving, static, syn_pairs=syn_pairs)
        first = moving[:ROWS]
        figure = viz.plot_registration(
            first,
            static,
            registration.predict(first, static),
            registration.predict_field(first, static),
        )
        with whole_files(paths) as partials:
            registration.save(partials["out_model"])
            write_csv(table_rows(table), partials["out_metrics"])
            history_figure = viz.plot_history(history.history)
            _save_figure(history_figure, partials["out_history"])
            _save_figure(figure, partials["out_figure"])
        pairs = min(syn_pairs, len(moving))
        logger.info(f"Means of {pairs} pairs of test images:\n{format_table(table)}")
        logger.info(f"Results are in {printable(Path(out_dir).absolute())}")


def _save_figure(figure, path):
    import matplotlib.pyplot as plt

    with whole_file(path) as partial:
        figure.savefig(partial, dpi=100)
    plt.close(figure)
