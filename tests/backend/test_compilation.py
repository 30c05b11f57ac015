from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.backend import (
    as_one_graph,
    compiled,
    output_shape,
    recomputed,
    self_adjoint,
    value_and_gradient,
)

pytestmark = pytest.mark.backends


def waves(x, y):
    return ops.multiply(ops.sin(x), y)


def test_compiled_functions_take_tensors_and_arrays(rng):
    x, y = rng.random((2, 3, 4), dtype=np.float32)
    function = compiled(waves)
    expected = np.sin(x) * y
    for convert in (np.asarray, ops.convert_to_tensor):
        actual = ops.convert_to_numpy(function(convert(x), convert(y)))
        npt.assert_allclose(actual, expected, rtol=1e-5)


def test_gradient_of_a_recomputed_function(rng, gradient):
    x, y, weight = rng.random((3, 3, 4), dtype=np.float32)
    function = recomputed(waves)
    npt.assert_allclose(ops.convert_to_numpy(function(x, y)), np.sin(x) * y, rtol=1e-5)
    actual = gradient(lambda x, y: ops.sum(ops.multiply(weight, function(x, y))), x, y)
    npt.assert_allclose(actual[0], weight * np.cos(x) * y, rtol=1e-4)
    npt.assert_allclose(actual[1], weight * np.sin(x), rtol=1e-4)


def test_value_and_gradient(rng):
    x, y = rng.random((2, 3, 4), dtype=np.float32)
    x, y = ops.convert_to_tensor(x), ops.convert_to_tensor(y)
    value, slope = value_and_gradient(lambda x, y: ops.sum(waves(x, y)))(x, y)
    x, y, value, slope = map(ops.convert_to_numpy, (x, y, value, slope))
    npt.assert_allclose(value, np.sum(np.sin(x) * y), rtol=1e-5)
    npt.assert_allclose(slope, np.cos(x) * y, rtol=1e-5)


def test_value_and_gradient_take_nested_constants(rng):
    x, y = (ops.convert_to_tensor(a) for a in rng.random((2, 3, 4), dtype=np.float32))
    evaluate = value_and_gradient(
        lambda x, constants: ops.sum(waves(x, constants["y"]))
    )
    for rows in (3, 2):  # each shape is traced again
        value, slope = evaluate(x[:rows], {"y": y[:rows]})
        arrays = map(ops.convert_to_numpy, (x[:rows], y[:rows], value, slope))
        x_rows, y_rows, value, slope = arrays
        npt.assert_allclose(value, np.sum(np.sin(x_rows) * y_rows), rtol=1e-5)
        npt.assert_allclose(slope, np.cos(x_rows) * y_rows, rtol=1e-5)


def test_one_graph_returns_the_results_of_its_operations(rng):
    x, y = rng.random((2, 3, 4), dtype=np.float32)
    function = as_one_graph(lambda x, options: (waves(x, options["y"]), ops.sum(x)))
    for rows in (3, 2):  # each shape is traced again
        options = {"y": ops.convert_to_tensor(y[:rows])}
        product, total = function(ops.convert_to_tensor(x[:rows]), options)
        expected = np.sin(x[:rows]) * y[:rows]
        npt.assert_allclose(ops.convert_to_numpy(product), expected, rtol=1e-5)
        npt.assert_allclose(ops.convert_to_numpy(total), x[:rows].sum(), rtol=1e-5)


def test_a_self_adjoint_function_is_its_own_gradient(rng, gradient):
    matrix = rng.random((5, 5), dtype=np.float32)
    matrix = matrix + matrix.T
    x, weight = rng.random((2, 5, 1), dtype=np.float32)
    function = self_adjoint(lambda x, times: times * ops.matmul(matrix, x))
    (actual,) = gradient(lambda x: ops.sum(ops.multiply(weight, function(x, 3))), x)
    npt.assert_allclose(actual, 3 * matrix @ weight, rtol=1e-5)


def test_output_shape_and_errors_of_the_function():
    assert output_shape(waves, (2, 3), (2, 1)) == (2, 3)
    assert output_shape(lambda x: ops.sum(x), (2, 3)) == ()

    def fail(x):
        raise ValueError("as it was written")

    with pytest.raises(ValueError) as caught:
        output_shape(fail, (2, 3))
    assert str(caught.value) == "as it was written"  # JAX adds a note


@pytest.mark.tensorflow
def test_constants_get_no_gradient(rng):
    import tensorflow as tf

    x, y = (tf.constant(a) for a in rng.random((2, 3, 4), dtype=np.float32))
    with tf.GradientTape() as tape:
        tape.watch([x, y])
        value = tf.reduce_sum(recomputed(waves, constants=1)(x, y))
    actual = tape.gradient(value, [x, y])
    npt.assert_allclose(actual[0], np.cos(x) * y, rtol=1e-4)
    assert actual[1] is None
