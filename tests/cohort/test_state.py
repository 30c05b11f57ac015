"""Rows of a cohort survive whatever ends a process."""

from functools import partial
import json
import os
from pathlib import Path

import numpy as np
import pytest

from dipy_nn_reg.cohort import state
from dipy_nn_reg.cohort.jobs import Job, row_of

ROWS = [
    {"id": "a", "status": "done", "verdict": "Good", "seconds": 1.23456789},
    {"id": "b", "status": "failed", "error": "two\nlines\tand a tab"},
]


def test_rows_are_read_as_they_were_written(tmp_path):
    path = state.table_of(tmp_path)
    state.write_rows(path, ROWS[:1])
    with state.appended(path) as add:
        add(ROWS[1])
        # Before the file is closed: a process that is killed does not close it.
        rows = state.read_rows(tmp_path)
    assert list(rows) == ["a", "b"]
    assert rows["a"]["seconds"] == "1.23457" and rows["a"]["error"] == ""
    assert rows["b"]["status"] == "failed" and "two" in rows["b"]["error"]
    assert len(path.read_text().splitlines()) == 3


def test_a_row_that_was_cut_short_is_ignored(tmp_path, dipy_log):
    path = state.table_of(tmp_path)
    state.write_rows(path, ROWS)
    path.write_bytes(path.read_bytes()[:-3])
    assert list(state.read_rows(tmp_path)) == ["a"]
    assert "cut short" in dipy_log.text


def test_parts_are_read_together_and_success_counts(tmp_path):
    state.write_rows(state.table_of(tmp_path), ROWS)
    state.write_rows(state.table_of(tmp_path, (1, 2)), [{"id": "b", "status": "done"}])
    state.write_rows(state.table_of(tmp_path, (2, 2)), [{"id": "c", "status": "done"}])
    rows = state.read_rows(tmp_path)
    assert {name: row["status"] for name, row in rows.items()} == dict.fromkeys(
        "abc", "done"
    )


def test_other_tables_are_refused(tmp_path):
    state.table_of(tmp_path).write_text("id\tstatus\na\tdone\n")
    with pytest.raises(ValueError, match="Expected a table of a cohort.*cohort.tsv"):
        state.read_rows(tmp_path)


def test_results_of_other_options_are_not_mixed(tmp_path):
    state.check_settings(tmp_path, {"loss": "mi", "inverse": False})
    state.check_settings(tmp_path, {"loss": "mi", "inverse": False})
    with pytest.raises(ValueError, match="loss='ncc'; the earlier run had 'mi'"):
        state.check_settings(tmp_path, {"loss": "ncc", "inverse": False})
    with pytest.raises(ValueError, match="inverse=None; the earlier run had False"):
        state.check_settings(tmp_path, {"loss": "mi"})


def test_settings_without_results_are_replaced(tmp_path):
    assert not state.check_settings(tmp_path, {"loss": "mi"}, is_empty=True)
    assert not state.check_settings(tmp_path, {"loss": "mi"}, is_empty=True)
    assert state.check_settings(tmp_path, {"loss": "ncc"}, is_empty=True)
    assert not state.check_settings(tmp_path, {"loss": "ncc"})


def test_damaged_settings_are_refused(tmp_path):
    (tmp_path / state.SETTINGS).write_text("{")
    with pytest.raises(ValueError, match="Expected settings.*cohort.json"):
        state.check_settings(tmp_path, {})


def test_a_name_keeps_its_images():
    job = Job("a", {"static": Path("/s.nii"), "moving": Path("/m.nii")}, {})
    row = {"id": "a", "static": "/s.nii", "moving": "/other.nii"}
    with pytest.raises(ValueError, match="moving='/m.nii'; the earlier .* '/other"):
        state.check_files([job], {"a": row})
    state.check_files([job], {"a": {**row, "moving": "/m.nii"}})


def test_other_masks_and_further_images_are_other_inputs():
    files = {"static": Path("/s.nii"), "moving": Path("/m.nii")}
    masked = Job("a", files, {}, {"mask": Path("/mask.nii")})
    row = row_of(masked)
    state.check_files([masked], {"a": row})
    channels = {"moving": [Path("/fa.nii")], "static": [Path("/fa_s.nii")]}
    for other in (
        Job("a", files, {}),
        Job("a", files, {}, {"mask": Path("/other.nii")}),
        Job("a", files, {}, masked.annotations, channels),
    ):
        with pytest.raises(ValueError, match="Expected the images of the earlier run"):
            state.check_files([other], {"a": row})


def test_the_later_reason_of_a_failure_counts(tmp_path):
    tables = state.table_of(tmp_path), state.table_of(tmp_path, (1, 2))
    for order in (tables, tables[::-1]):
        for time, (path, reason) in enumerate(zip(order, ("old", "new"))):
            row = {"id": "a", "status": "failed", "error": reason}
            state.write_rows(path, [row])
            os.utime(path, (time, time))
        assert state.read_rows(tmp_path)["a"]["error"] == "new"


def a_loss(moving, static):
    return 0.0


def test_settings_tell_options_apart_by_what_they_are():
    masks = np.zeros((2, 40, 40, 40), bool)
    masks[1, 20, 20, 20] = True
    first, second = (state.settings_of({"mask": mask}) for mask in masks)
    assert first != second and first == state.settings_of({"mask": masks[0].copy()})

    def settings(**options):
        found = state.settings_of(options)
        return json.loads(json.dumps(found))

    assert settings(level_iters=(5, 5)) == settings(level_iters=[np.int64(5), 5])
    assert settings(voxel_size=np.float32(0.5)) == {"voxel_size": 0.5}
    # By its name, and not by its place in memory.
    loss = settings(loss=partial(a_loss, window=5))["loss"]
    assert loss == [f"{__name__}.a_loss", [], {"window": 5}]
    assert settings(path=Path("/a"), none=None) == {"path": "/a"}
