import os

from dipy_nn_reg import processes


def test_processes_that_run_have_not_ended(ended_process):
    assert not processes.has_ended(processes.own_name(), 10**9)
    assert not processes.has_ended(processes.name_of(os.getppid()), 10**9)
    assert processes.has_ended(ended_process, 0)


def test_files_of_other_hosts_are_judged_by_their_age():
    assert not processes.is_of_this_host("00000000-1")
    assert not processes.has_ended("00000000-1", 3600)
    assert processes.has_ended("00000000-1", 2 * 24 * 3600)
