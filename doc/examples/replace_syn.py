"""
==========================================
Use a learned map where a script calls SyN
==========================================

In a script that registers images with DIPY's SyN :footcite:p:`Avants2008`, three lines
change if it is to use a trained model: the import, loading the model, and
the registration. Everything after that stays as it is, since both methods return a
``DiffeomorphicMap``.

On two cores this example takes about two minutes.
"""

import os
from time import perf_counter

from dipy.data import get_fnames
from dipy.viz import regtools
import matplotlib.pyplot as plt
import numpy as np
from scipy.ndimage import gaussian_filter

from dipy_nn_reg.metrics import ncc
from dipy_nn_reg.transform import integrate, warp

###############################################################################
# The images of such a script are often similar: one brain after another is registered
# to a template. Here the template is the coronal slice that comes with DIPY, at half
# its resolution, and the brains are random deformations of it.

template = np.load(get_fnames(name="t1_coronal_slice")).astype(np.float32)
template = template.reshape(128, 2, 128, 2).mean(axis=(1, 3)) / template.max()


def deform(image, rng):
    noise = rng.normal(size=(2, 128, 128))
    velocity = np.stack([gaussian_filter(part, 10) for part in noise], axis=-1)
    velocity *= 6 / np.abs(velocity).max()
    return warp(image, integrate(velocity.astype(np.float32)))


rng = np.random.default_rng(0)
brains = np.stack([deform(template, rng) for _ in range(65)])
moving, static = brains[0], template

###############################################################################
# The script with SyN registers and warps:

from dipy.align.imwarp import SymmetricDiffeomorphicRegistration  # noqa: E402
from dipy.align.metrics import CCMetric  # noqa: E402

syn = SymmetricDiffeomorphicRegistration(CCMetric(2), level_iters=[100, 50, 25])
start = perf_counter()
mapping = syn.optimize(static, moving)
print(f"SyN took {perf_counter() - start:.2f} s")
syn_warped = mapping.transform(moving)

###############################################################################
# A model is trained once, on the other brains, and saved. (``dipy_nn_reg_fit`` trains
# such a model on images in files.)

from dipy_nn_reg import DeformableRegistration  # noqa: E402

registration = DeformableRegistration(input_shape=(128, 128), seed=0)
epochs = int(os.environ.get("DIPY_NN_REG_EPOCHS", "60"))
registration.fit(brains[1:], static, epochs=epochs, batch_size=8, verbose=0)
registration.save("template.keras")

###############################################################################
# The script with the trained model. These are the three lines:
#
# .. code-block:: diff
#
#    -from dipy.align.imwarp import SymmetricDiffeomorphicRegistration
#    +from dipy_nn_reg import DeformableRegistration
#    -syn = SymmetricDiffeomorphicRegistration(CCMetric(2), level_iters=[100, 50, 25])
#    +registration = DeformableRegistration.load("template.keras")
#    -mapping = syn.optimize(static, moving)
#    +mapping = registration.predict_mapping(moving, static)

registration = DeformableRegistration.load("template.keras")
mapping = registration.predict_mapping(moving, static)
warped = mapping.transform(moving)

###############################################################################
# The first prediction of each size also compiles. The time of the next brain is that of
# an iteration of a loop.

start = perf_counter()
registration.predict_mapping(brains[1], static)
print(f"The next prediction took {perf_counter() - start:.2f} s")
for name, image in (("before", moving), ("SyN", syn_warped), ("model", warped)):
    print(f"{name:8} NCC {ncc(static, image):.3f}")

###############################################################################
# DIPY's figures take the predicted map like any other.

regtools.overlay_images(
    static, warped, title0="Static", title_mid="Overlay", title1="Warped"
)
regtools.plot_2d_diffeomorphic_map(mapping, delta=8)
plt.show()

###############################################################################
# .. rst-class:: centered small fst-italic fw-semibold
#
# Static and warped image, and the map with its inverse.
#
# References
# ----------
# .. footbibliography::

os.remove("template.keras")
