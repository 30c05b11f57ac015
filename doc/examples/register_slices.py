"""
===========================================
Train with labels where images show little
===========================================

A network is trained to register brain slices twice: on the images alone, and on the
images together with label maps of the same people :footcite:p:`Balakrishnan2019`. New
people need no labels. We compare the overlap of their structures.

The slices are synthetic, so that they may be shown and their labels are known. On two
cores this example takes about a minute.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data.phantoms import STRUCTURES, make_phantoms
from dipy_nn_reg.metrics import dice_of_labels
from dipy_nn_reg.transform import warp
from dipy_nn_reg.viz import plot_registration

###############################################################################
# Each person has the same structures, deformed by an individual smooth field. The
# last people are kept for the test: each is registered to the one before.

images, labels = make_phantoms(81, seed=0)
train, train_labels = images[:60], labels[:60]
static, static_labels = images[60:-1], labels[60:-1]
moving, moving_labels = images[61:], labels[61:]
print(f"{len(train)} people to train on, {len(moving)} pairs of others to test")

figure, axes = plt.subplots(2, 4, figsize=(7.5, 4), layout="constrained")
for column, image, person in zip(axes.T, train, train_labels):
    column[0].imshow(image, cmap="gray")
    column[1].imshow(person, cmap="cividis", interpolation="nearest")
for ax in axes.flat:
    ax.set(xticks=[], yticks=[])
axes[0, 0].set_ylabel("image")
axes[1, 0].set_ylabel("labels")
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Four people. Thalamus and putamen, the small structures beside the dark ventricles,
# stand out little from the white matter around them.
#
# The two models have the same network, initial weights and pairs of images. They differ
# only in the arguments of ``fit``: the second one also maximises the overlap of labels,
# and does not need them afterwards.

epochs = int(os.environ.get("DIPY_NN_REG_EPOCHS", "40"))
options = {"epochs": epochs, "batch_size": 8, "verbose": 0}

by_images = DeformableRegistration(input_shape=train.shape[1:], seed=0)
by_images.fit(train, **options)

by_labels = DeformableRegistration(input_shape=train.shape[1:], seed=0)
history = by_labels.fit(train, moving_labels=train_labels, **options)
print(f"overlap of labels in training: {history.history['label_overlap'][-1]:.3f}")

###############################################################################
# The fields of both models warp the labels of the test people, which are read at the
# nearest pixel. Dice is the mean over the pairs, for each structure.


def measure(field=None):
    warped = moving_labels
    if field is not None:
        warped = warp(moving_labels, field, interpolation="nearest")
    structures = range(1, len(STRUCTURES))
    pairs = [
        dice_of_labels(one, other, labels=structures)
        for one, other in zip(static_labels, warped)
    ]
    return np.array([[dice[label] for label in structures] for dice in pairs])


field = by_labels.predict_field(moving, static)
results = {
    "before": measure(),
    "images": measure(by_images.predict_field(moving, static)),
    "images and labels": measure(field),
}
for name, dice in results.items():
    print(f"{name:18} Dice {dice.mean():.3f}")

figure, ax = plt.subplots(figsize=(7.5, 3.4), layout="constrained")
places = np.arange(1, len(STRUCTURES))
for i, ((name, dice), color) in enumerate(
    zip(results.items(), ("silver", "tab:blue", "tab:orange"))
):
    ax.bar(places + 0.27 * (i - 1), dice.mean(axis=0), 0.25, label=name, color=color)
ax.set(ylabel="Dice", ylim=(0, 1), xticks=places)
ax.set_xticklabels([name.replace(" ", "\n") for name in STRUCTURES[1:]])
figure.legend(loc="outside upper center", ncols=3, frameon=False)
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Overlap of each structure, over the test people.
#
# Labels do not make the images more similar, and the field should not fold because of
# them.

for name, model in (("images", by_images), ("images and labels", by_labels)):
    measured = model.evaluate(moving, static, verbose=0)
    print(
        f"{name:18} NCC {measured['ncc_before']:.3f} to "
        f"{measured['ncc_after']:.3f}, folding {measured['folding']:.3f} %"
    )

some = slice(0, 3)
warped = by_labels.predict(moving[some], static[some])
plot_registration(moving[some], static[some], warped, field[some], spacing=2)
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Three of the test pairs, registered by the model that was trained with labels.
#
# On files, ``dipy_nn_reg_fit`` takes label maps by ``--moving_labels``.
#
# References
# ----------
#
# .. footbibliography::
