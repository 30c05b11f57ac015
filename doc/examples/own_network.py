"""
===========================================
A network, a loss and a penalty of your own
===========================================

Each of the three may be a function of yours, in Keras. The rest of the package
(the integration that keeps the field from folding, training, maps, files) then works
as with the built-in ones.

On two cores this example takes about half a minute.
"""

import os
from pathlib import Path
from tempfile import TemporaryDirectory

import keras
from keras import layers, ops
import matplotlib.pyplot as plt
import numpy as np

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.data.phantoms import make_phantoms
from dipy_nn_reg.viz import plot_history, plot_registration

###############################################################################
# A network is called with the moving and the static image, of shape
# (batch, rows, columns, 1), and returns two values for each pixel (in 3D three for each
# voxel): here the velocity, in pixels. This network keeps the resolution and enlarges
# its field of view by dilated convolutions. The last layer starts at zero, so that
# nothing moves before training. All three functions are registered with Keras, so that
# they can be found by the names in a saved file.


@keras.saving.register_keras_serializable(package="example")
def dilated(moving, static):
    x = layers.Concatenate()([moving, static])
    for rate in (1, 2, 4, 8, 4, 2, 1):
        x = layers.Conv2D(16, 3, padding="same", dilation_rate=rate)(x)
        x = layers.LeakyReLU(negative_slope=0.2)(x)
    return layers.Conv2D(2, 3, padding="same", kernel_initializer="zeros")(x)


###############################################################################
# A loss takes the static and the warped image, from 0 to 1, and returns a number for
# each pair. This one is nearly the absolute difference, so that a few pixels with large
# differences do not dominate.


@keras.saving.register_keras_serializable(package="example")
def robust_difference(static, warped):
    difference = ops.sqrt(ops.square(static - warped) + 0.01**2)
    return ops.mean(difference, axis=(1, 2, 3))


###############################################################################
# A penalty takes the field. This one is the energy of an elastic sheet: stretching and
# shearing cost energy, a rotation costs none.


@keras.saving.register_keras_serializable(package="example")
def elastic(field):
    down = field[:, 1:, :-1] - field[:, :-1, :-1]
    right = field[:, :-1, 1:] - field[:, :-1, :-1]
    stretch = ops.square(down[..., 0]) + ops.square(right[..., 1])
    shear = ops.square(down[..., 1] + right[..., 0]) / 2
    area = ops.square(down[..., 0] + right[..., 1]) / 2
    return ops.mean(stretch + shear + area, axis=(1, 2))


###############################################################################
# With a loss or penalty of your own, ``smoothness`` sets the weight of the penalty: a
# higher one makes fields smoother. The layers of a network of your own draw their
# weights from Keras's own seed.

keras.utils.set_random_seed(0)
images, _ = make_phantoms(72, shape=(48, 48), seed=0)
train, validation, test = np.split(images, [56, 64])
registration = DeformableRegistration(
    input_shape=(48, 48),
    network=dilated,
    loss=robust_difference,
    penalty=elastic,
    smoothness=0.05,
    seed=0,
)
epochs = int(os.environ.get("DIPY_NN_REG_EPOCHS", "40"))
history = registration.fit(
    train, epochs=epochs, batch_size=8, validation_data=(validation, None), verbose=0
)
plot_history(history.history)
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# The loss, the part of the penalty in it, and the correlation, which was not optimised.
#
# Test images, each registered to the one before:

moving, static = test[1:], test[:-1]
measured = registration.evaluate(moving, static, verbose=0)
print(
    f"NCC {measured['ncc_before']:.3f} to {measured['ncc_after']:.3f}, "
    f"folding {measured['folding']:.3f} %, "
    f"{registration.model.count_params()} parameters"
)
warped = registration.predict(moving, static)
field = registration.predict_field(moving, static)
plot_registration(moving[:3], static[:3], warped[:3], field[:3], spacing=2)
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Three of the test pairs.
#
# The file holds the weights and the names of the three functions. They must be defined
# and registered before the file is loaded, for example by importing their module.

with TemporaryDirectory() as folder:
    path = Path(folder) / "own.keras"
    registration.save(path)
    loaded = DeformableRegistration.load(path)
same = np.array_equal(loaded.predict(moving, static), warped)
print(f"The loaded model predicts the same: {same}")
