"""
====================================
Learn to register handwritten digits
====================================

A network learns to register images of one handwritten digit, without knowing which
points of two images correspond. After training, registering a new pair is a
single pass through the network. We compare the result with SyN
:footcite:p:`Avants2008`, DIPY's classical method, which optimises each pair anew.

On two cores this example takes about a minute.
"""

import os

import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data import load_mnist
from dipy_nn_reg.metrics import jacobian_determinant
from dipy_nn_reg.quality.beside_syn import compare_with_syn, format_table
from dipy_nn_reg.viz import plot_history, plot_registration

###############################################################################
# We load the images of the digit 7 in MNIST :footcite:p:`LeCun1998`. They come from
# the folder that the environment variable ``DIPY_NN_REG_MNIST`` names, or else from
# a download. A twentieth of the training images is for validation.

(train, _), (test, _) = load_mnist(digit=7)
validation, train = np.split(train, [len(train) // 20])
print(f"{len(train)} images to train on, {len(test)} to test, of {test.shape[1:]}")

###############################################################################
# A model is built and compiled on construction. Its U-Net
# :footcite:p:`Ronneberger2015` sees a moving and a static image and predicts a
# stationary velocity; integrated, it is a displacement that hardly ever folds
# :footcite:p:`Arsigny2006`. The moving image is warped by it with bilinear
# interpolation :footcite:p:`Jaderberg2015`.

registration = DeformableRegistration(input_shape=(28, 28), seed=0)
registration.summary()

###############################################################################
# Training makes the warped image similar to the static one, and the field smooth
# :footcite:p:`Balakrishnan2018`. No ground truth is needed. Without a static image,
# ``fit`` registers each image to another one, drawn at random in each epoch, so that
# the model serves any static image afterwards.

epochs = int(os.environ.get("DIPY_NN_REG_EPOCHS", "9"))
history = registration.fit(
    train, epochs=epochs, validation_data=(validation, None), verbose=2
)

###############################################################################
# The loss falls, and the similarity (normalised cross-correlation) rises, on the
# validation images as on the training images.

plot_history(history.history)
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Loss, penalty on the field, and similarity over the epochs.
#
# Now we register test images, which the model has not seen, to one of them. The grid
# shows the position of each point of the static image in the moving image. Its lines do
# not cross where the field does not fold.

static, moving = test[0], test[1:]
warped = registration.predict(moving, static)
field = registration.predict_field(moving, static)

for i in range(4):
    one = slice(i, i + 1)
    plot_registration(moving[one], static, warped[one], field[one])
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Four test images, each registered to the same static image.
#
# The Jacobian determinant says how the map changes the area around each point: 1
# where it does not change, between 0 and 1 where the moving image is stretched to cover
# the static one, above 1 where it is compressed, and 0 or less at a fold. On a
# logarithmic scale halving and doubling look alike.

determinants = np.stack([jacobian_determinant(u) for u in field[:4]])
print(
    f"Jacobian determinants from {determinants.min():.2f} to {determinants.max():.2f}"
)

figure, axes = plt.subplots(1, 4, figsize=(7.5, 2), layout="constrained")
for ax, determinant in zip(axes, determinants):
    logarithm = np.log2(np.maximum(determinant, 0.01))
    shown = ax.imshow(logarithm, cmap="PuOr", vmin=-3, vmax=3)
    ax.set(xticks=[], yticks=[])
figure.colorbar(shown, ax=axes, label="log2 of determinant")
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Change of area under the four maps.
#
# Finally we compare with SyN on the first twelve pairs: similarity, overlap of the
# strokes (Dice), folded pixels in percent and seconds for a pair.

table = compare_with_syn(registration, moving, static, syn_pairs=12)
print(format_table(table))

###############################################################################
# One file holds the model, including the rescaling of intensities, and its
# configuration.
#
# .. code-block:: python
#
#    registration.save("model.keras")
#    registration = DeformableRegistration.load("model.keras")
#
# References
# ----------
#
# .. footbibliography::
