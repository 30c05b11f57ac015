"""Bad input, with the tool that tries it: it finds faults, and none in the package."""

from pathlib import Path
import subprocess
import sys
from textwrap import dedent

import numpy as np
import pytest

from dipy_nn_reg import DeformableRegistration, metrics, register

TOOLS = Path(__file__).parents[1] / "tools"
sys.path.insert(0, str(TOOLS))

from fuzzing import table  # noqa: E402
from fuzzing.areas import AREAS, make_case  # noqa: E402
from fuzzing.call import Call, Case, image  # noqa: E402
from fuzzing.dress import dress  # noqa: E402
from fuzzing.judge import MARKER, judge  # noqa: E402
from fuzzing.mutate import mutate  # noqa: E402
from fuzzing.supervisor import supervise  # noqa: E402

# Numbers of cases in the fast and in the slow lane; the seed is that of the
# documentation.
FEW, MANY = 40, 300
# Areas of cases that compile little.
QUICK = [
    "metrics",
    "label_metrics",
    "mapping",
    "resampling",
    "diffusion",
    "splines",
    "intensities",
    "nifti",
    "field_files",
    "workflows.inputs",
    "readers of paths",
    "damaged digits",
    "save and load",
    "predict",
    "commands",
]


def _case(run, **options):
    return Case("area", "function", "mutation", run, **options)


def _ours():
    raise ValueError("Expected a number. Received x='text'.")


def _numpys():
    np.zeros(3) + np.zeros(4)


def _no_key():
    {}["key"]


def _spoil(x):
    x[0] = 5


def _write(name):
    Path(name).write_text("left")


def _seed():
    np.random.seed(3)


@pytest.mark.parametrize(
    "outcome, run, options",
    [
        ("result", lambda: {"a": [1.0, np.ones(3)]}, {}),
        ("expected error", _ours, {}),
        ("refused", _ours, {"must_work": True}),
        ("other library's words", _numpys, {}),
        ("wrong kind", _no_key, {}),
        ("not finite", lambda: {"a": (1, [np.array([1, np.inf])])}, {}),
        ("result", lambda: np.nan, {"nan": "documented"}),
        ("not finite", lambda x: np.nan, {"arguments": {"x": 1}, "nan": "through"}),
        ("result", lambda x: np.nan, {"arguments": {"x": np.inf}, "nan": "through"}),
        ("wrong result", lambda: 5, {"is_right": lambda r: r < 1}),
        (
            "wrong result",
            lambda x: x.dtype.itemsize,
            {
                "arguments": {"x": np.ones(2)},
                "plain": {"x": np.ones(2, np.float32)},
            },
        ),
        ("wrong result", lambda: np.ones(3), {"read_equal": np.zeros(3)}),
        ("changed input", _spoil, {"arguments": {"x": np.zeros(3)}}),
        ("left files behind", lambda: _write("new.txt"), {}),
        ("result", lambda: _write("new.txt"), {"written": ("new.txt",)}),
        ("left files behind", lambda: _write(".new.txt"), {"written": ("*",)}),
        ("foreign code", lambda: _write(MARKER), {}),
        ("changed global state", _seed, {}),
    ],
)
def test_outcomes(tmp_path, monkeypatch, outcome, run, options):
    monkeypatch.chdir(tmp_path)
    state = np.random.get_state()
    try:
        found, note, _ = judge(_case(run, **options), tmp_path)
    finally:
        np.random.set_state(state)
    assert found == outcome, note


def test_wrong_argument_names_are_reported_by_python(tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    wrong = {"arguments": {"statik": 1}, "misspelt": True}
    assert judge(_case(metrics.ncc, **wrong), tmp_path)[0] == "expected error"
    wrong["misspelt"] = False
    assert judge(_case(metrics.ncc, **wrong), tmp_path)[0] == "other library's words"


@pytest.mark.parametrize("kind", ["image", "labels", "field", "affine"])
def test_other_dresses_hold_the_same_values(tmp_path, kind):
    values = np.arange(12.0).reshape(3, 4) * 8 / 256
    values = values.astype(np.int32) if kind == "labels" else values.astype(np.float32)
    names = set()
    for i in range(200):
        rng = np.random.default_rng(i)
        name, plain, dressed, _ = dress(kind, values, rng, tmp_path)
        names.add(name)
        np.testing.assert_array_equal(np.asarray(dressed, float), plain)
    assert {"strided", "Fortran order", "read-only", "tensor", "list"} <= names


def test_case_depends_on_its_number_alone(tmp_path):
    for number in (3, 4, 5, 6):
        one = _made(number, tmp_path / "one")
        _made(number + 100, tmp_path / f"between{number}")
        other = _made(number, tmp_path / "other")
        assert one == other


def _made(number, folder):
    folder.mkdir(exist_ok=True)
    case = make_case(0, number, folder, only=["metrics", "mapping", "splines"])
    arrays = [a for a in case.arguments.values() if isinstance(a, np.ndarray)]
    return case.function, case.mutation, [a.tobytes() for a in arrays]


def test_mutations_are_of_all_kinds(tmp_path):
    array = np.linspace(0, 1, 12, dtype=np.float32).reshape(3, 4)
    call = Call(metrics.ncc, static=image(array), warped=image(array[::-1]))
    cases = [
        mutate(call, "metrics", np.random.default_rng(i), tmp_path, strict=False)
        for i in range(100)
    ]
    assert any(case.plain is not None for case in cases)
    assert any(case.misspelt for case in cases)
    assert len({case.mutation for case in cases}) > 50


PLANTED = """
    import os
    import time

    import numpy as np

    from fuzzing.call import Case


    def prepare():
        pass


    def crash():
        os.kill(os.getpid(), 11)


    def hang():
        while True:
            pass


    def sleep():
        time.sleep(1000)


    def eat():
        kept = []
        while True:
            kept.append(np.ones(10**8))
            time.sleep(0.5)


    def well():
        return 1.0


    FUNCTIONS = [well, crash, hang, well, sleep, eat, well]


    def make_case(seed, number, folder, *, only=None):
        return Case("planted", FUNCTIONS[number].__name__, "", FUNCTIONS[number])
"""


@pytest.mark.slow
def test_supervisor_reports_crash_hang_and_memory(tmp_path, monkeypatch):
    (tmp_path / "planted.py").write_text(dedent(PLANTED))
    monkeypatch.setenv("PYTHONPATH", str(tmp_path), prepend=":")
    results = supervise(
        range(7),
        seed=0,
        workers=1,
        module="planted",
        most_seconds=6,  # a busy machine takes 3 s to fill the memory
        most_memory=6 * 10**8,
    )
    assert [r["case"] for r in results] == list(range(7))
    outcomes = [(r["function"], r["outcome"]) for r in results]
    assert outcomes == [
        ("well", "result"),
        ("crash", "crash"),
        ("hang", "hang"),
        ("well", "result"),
        ("sleep", "hang"),
        ("eat", "memory"),
        ("well", "result"),
    ]


def test_table_reports_broken_promises():
    strict = {"case": 1, "area": "register", "outcome": "other library's words"}
    low = [{"case": i, "area": "losses", "outcome": "result"} for i in range(98)]
    word = {"case": 100, "area": "losses", "outcome": "wrong kind"}
    silent = {"case": 101, "area": "losses", "outcome": "not finite"}
    assert table.holds(low) == []
    assert table.holds([*low, word]) == []
    assert "2.97 %" in table.holds([*low, word, word, word])[0]
    assert len(table.holds([*low, silent])) == 1
    assert len(table.holds([*low, strict])) == 1
    rows = table.count_by_area([*low, strict])
    assert [(r["area"], r["cases"]) for r in rows] == [
        ("register", 1),
        ("losses", 98),
        ("all", 99),
    ]


def test_percentages_of_areas_sum_to_about_100():
    assert abs(sum(area.share for area in AREAS.values()) - 100) < 5


@pytest.mark.slow
def test_tool_runs_one_case():
    done = subprocess.run(
        [sys.executable, TOOLS / "fuzz.py", "--case", "5", "--areas", "metrics"],
        capture_output=True,
        text=True,
        timeout=300,
    )
    assert done.returncode == 0, done.stderr
    assert "metrics: " in done.stdout


@pytest.mark.parametrize("cases", [FEW, pytest.param(MANY, marks=pytest.mark.slow)])
def test_bad_input_ends_in_a_result_or_an_error_of_ours(cases):
    results = supervise(range(cases), seed=0, workers=2, only=QUICK)
    assert len(results) == cases
    broken = table.holds(results)
    assert not broken, "\n".join(
        [*broken, *map(table.describe, table.failures(results))]
    )


@pytest.fixture
def blob_pair():
    static = np.exp(-((np.indices((16, 17)) - 8) ** 2).sum(0) / 20)
    return np.roll(static, 1, axis=0), static


def test_small_integers_of_numpy_are_options_of_register(blob_pair):
    options = {"prealign": None, "level_iters": (1, 1)}
    expected, _ = register(*blob_pair, **options)
    found, _ = register(*blob_pair, num_channels=np.int8(1), **options)
    np.testing.assert_array_equal(found.backward, expected.backward)


def test_small_integers_of_numpy_are_options_of_fit(blob_pair):
    registration = DeformableRegistration(input_shape=(16, 17), network="voxelmorph1")
    history = registration.fit(
        np.stack(blob_pair), epochs=1, batch_size=np.uint8(1), verbose=0
    )
    assert np.isfinite(history.history["loss"]).all()
