from concurrent.futures import ThreadPoolExecutor
import gc
import os
import subprocess
import sys
import weakref

from keras import ops
import numpy as np
import numpy.testing as npt
import pytest

from dipy_nn_reg.backend import as_one_graph, compiled, recomputed
from dipy_nn_reg.tracing import GRAPHS_KEPT

pytestmark = pytest.mark.tensorflow


def run(code, *, seconds=240):
    """Run Python in a new process, and return the last line that it prints."""
    done = subprocess.run(
        [sys.executable, "-c", code], capture_output=True, text=True, timeout=seconds
    )
    assert done.returncode == 0, done.stderr
    return done.stdout.splitlines()[-1]


@pytest.mark.slow
def test_graphs_of_old_sizes_are_freed():
    graphs = []
    cube = recomputed(lambda x: x**3)

    @as_one_graph
    def function(x):
        import tensorflow as tf

        graphs.append(weakref.ref(tf.compat.v1.get_default_graph()))
        with tf.GradientTape() as tape:
            tape.watch(x)
            y = ops.sum(cube(x))
        return tape.gradient(y, x)

    for n in range(1, 2 * GRAPHS_KEPT + 2):
        actual = function(ops.convert_to_tensor(np.full(n, 2.0, np.float32)))
        npt.assert_allclose(actual, 12)
    gc.collect()
    alive = [graph() is not None for graph in graphs]
    assert alive == [False] * (GRAPHS_KEPT + 1) + [True] * GRAPHS_KEPT
    # A graph that was freed is traced again.
    npt.assert_allclose(function(ops.convert_to_tensor(np.full(1, 2.0, "f4"))), 12)


def test_names_of_tensors_tell_calls_apart():
    ones, twos = (ops.full((3,), value, dtype="float32") for value in (1, 2))

    @as_one_graph
    def function(arrays):
        return arrays.get("mask", 0) + 10 * arrays.get("moving_mask", 0)

    npt.assert_array_equal(function({"mask": ones}), [1, 1, 1])
    npt.assert_array_equal(function({"moving_mask": ones}), [10, 10, 10])
    both = {"moving_mask": ones, "mask": twos}
    npt.assert_array_equal(function(both), [12, 12, 12])


def test_one_graph_serves_all_sizes():
    traced = []

    @compiled
    def function(image, power):
        traced.append(image.shape)
        return image**power

    for n in (8, 9, 30):
        image = np.full((1, n, n + 1, 2), 3, np.float32)
        npt.assert_array_equal(function(image, 2), image**2)
    assert traced == [(1, None, None, 2)]
    npt.assert_array_equal(function(image, 3), image**3)
    npt.assert_array_equal(function(image[:, :3], 3), image[:, :3] ** 3)
    assert traced[1:] == [(1, None, None, 2), (1, 3, None, 2)]


MEMORY = """
import gc, numpy as np, psutil
from dipy_nn_reg import register, tracing
tracing.GRAPHS_KEPT = 3  # so that few sizes suffice
def memory(size):
    image = np.exp(-((np.indices((size, 20)) - 10) ** 2).sum(0) / 20)
    actual.append(
        register(np.roll(image, 1, 0), image, prealign=None, level_iters=(1,))[0]
    )
    gc.collect()
    return psutil.Process().memory_info().rss / 2**20
actual = []
sizes = [memory(size) for size in range(20, 36)]
memory(20)
assert np.array_equal(actual[0].forward, actual[-1].forward)
print((sizes[-1] - sizes[7]) / 8)
"""


@pytest.mark.slow
def test_memory_for_each_new_size_is_bounded():
    # In MiB. Graphs are freed from the 7th size on: 14, and 26 if they are not.
    assert float(run(MEMORY, seconds=600)) < 20


@pytest.mark.slow
def test_threads_get_the_results_of_one_thread(rng):
    cube = recomputed(lambda x: x**3)
    function = as_one_graph(lambda x: ops.sum(cube(x)))
    sizes = [*range(1, 2 * GRAPHS_KEPT + 4), 1, 2]
    arrays = [rng.random(n, dtype=np.float32) for n in sizes for _ in range(2)]
    expected = [float(function(ops.convert_to_tensor(a))) for a in arrays]
    with ThreadPoolExecutor(4) as pool:
        actual = list(
            pool.map(lambda a: float(function(ops.convert_to_tensor(a))), arrays)
        )
    assert actual == expected


PROCESSES = """
import multiprocessing, numpy as np
from dipy_nn_reg.transform.functions import warp
def work(_):
    try:
        return float(warp(np.ones((4, 4), "f4"), np.zeros((4, 4, 2), "f4")).sum())
    except RuntimeError as error:
        return str(error)
if __name__ == "__main__":
    {before}
    with multiprocessing.get_context("{method}").Pool(2) as pool:
        print(pool.map(work, range(2), chunksize=1))
"""
MESSAGE = "Expected a process that was spawned"


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
@pytest.mark.parametrize(
    ("before", "method", "expected"),
    [
        ("work(0)", "fork", MESSAGE),
        ("pass", "fork", "[16.0, 16.0]"),
        ("work(0)", "spawn", "[16.0, 16.0]"),
    ],
)
def test_forked_and_spawned_processes(before, method, expected, tmp_path):
    script = tmp_path / "script.py"
    script.write_text(PROCESSES.format(before=before, method=method))
    done = subprocess.run(
        [sys.executable, script], capture_output=True, text=True, timeout=240
    )
    assert expected in done.stdout, done.stderr


@pytest.mark.slow
@pytest.mark.skipif(not hasattr(os, "fork"), reason="no fork here")
def test_a_forked_process_raises_an_error_with_advice():
    actual = run("""
import os, sys, numpy as np
from dipy_nn_reg import DeformableRegistration, register
images = np.random.default_rng(0).random((2, 8, 8), dtype="f4")
model = DeformableRegistration(input_shape=(8, 8))
model.predict(images, images[0])
calls = [
    lambda: model.predict(images, images[0]),
    lambda: register(images[0], images[1], prealign=None),
    lambda: DeformableRegistration(input_shape=(8, 8)),
]
if (child := os.fork()) == 0:
    raised = 0
    for call in calls:
        try:
            call()
        except RuntimeError as error:
            raised += "spawn" in str(error)
    os._exit(raised)
print(os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]))
""")
    assert actual == "3"
