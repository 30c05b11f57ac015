r"""Write the weights of a trained pyramid into the package, in float16.

    python tools/export_zero_shot.py --ndim 3 --weights runs/3d/network.weights.h5

``dipy_nn_reg/networks/pretrained.py`` says what the file holds.
"""

from argparse import ArgumentParser
from pathlib import Path
import re

import keras
from keras import layers
import numpy as np
from train_zero_shot import STRIDES, build

from dipy_nn_reg import DeformableRegistration
from dipy_nn_reg.networks import pretrained

SHAPES = {2: (32, 32), 3: (32, 32, 32)}


def main():
    options = _parse_arguments()
    trained = build(options.ndim)
    trained.load_weights(options.weights)
    plain = DeformableRegistration(
        input_shape=SHAPES[options.ndim],
        network="pyramid",
        field_stride=STRIDES[options.ndim],
    ).model
    folder = Path(pretrained.__file__).parent / "weights"
    folder.mkdir(exist_ok=True)
    path = folder / pretrained.FILES[options.ndim]
    np.savez_compressed(path, **arrays_of(trained, plain))
    print(path, f"{path.stat().st_size / 2**20:.1f} MiB")


def arrays_of(trained, plain):
    """Return the arrays of a file.

    Parameters
    ----------
    trained : keras.Model
        With a dial.
    plain : keras.Model
        Without one, whose order of the weights is that of the file.
    """
    convolutions = layers.Conv2D, layers.Conv3D
    of_weight = {}
    for one, other in zip(
        _created(trained, convolutions), _created(plain, convolutions), strict=True
    ):
        of_weight |= {id(w): v for w, v in zip(other.weights, one.get_weights())}
    first, *changes = map(_matrix, _created(trained, layers.Dense))
    norms = _created(plain, layers.GroupNormalization)
    for norm, scale, shift in zip(norms, changes[::2], changes[1::2], strict=True):
        scale[-1] += 1  # the features are changed by the scale, not replaced
        of_weight |= {id(norm.gamma): scale, id(norm.beta): shift}
    weights = {str(i): of_weight[id(w)] for i, w in enumerate(plain.weights)}
    return {n: a.astype(np.float16) for n, a in ({"style": first} | weights).items()}


def _matrix(dense):
    kernel, bias = dense.get_weights()
    return np.concatenate([kernel, bias[None]])


def _created(model, kind):
    """Return the layers of a kind in the order in which they were created."""
    found = [layer for layer in _leaves(model) if isinstance(layer, kind)]
    return sorted(
        found, key=lambda layer: int((re.findall(r"_(\d+)$", layer.name) or [0])[0])
    )


def _leaves(model):
    for layer in model.layers:
        yield from _leaves(layer) if isinstance(layer, keras.Model) else [layer]


def _parse_arguments():
    parser = ArgumentParser(description=__doc__.split("\n")[0])
    parser.add_argument("--ndim", type=int, choices=(2, 3), required=True)
    parser.add_argument("--weights", required=True, help="network.weights.h5")
    return parser.parse_args()


if __name__ == "__main__":
    main()
