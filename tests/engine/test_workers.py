"""Tasks give the same results in any number of processes, and a failing one ends the work at once."""

from __future__ import annotations

import os

import pytest

from engine.workers import TaskPool, run_tasks, single_thread


def make_state() -> int:
    return 100


def add(state: int, task: int) -> tuple[int, int]:
    if task < 0:
        raise ValueError(f"bad task {task}")
    return state + task, os.getpid()


@pytest.mark.parametrize("workers", [1, 2])
def test_every_task_is_answered_once(workers: int) -> None:
    found = dict(run_tasks(add, make_state, [5, 6, 7, 8, 9, 10, 11, 12], workers))
    assert {index: value for index, (value, _) in found.items()} == {i: 105 + i for i in range(8)}
    assert (os.getpid() in {process for _, process in found.values()}) == (workers == 1)


def test_processes_stay_between_calls_and_errors_come_through() -> None:
    pool = TaskPool(make_state, 2)
    first = {process for _, (_, process) in pool.run(add, [1, 2, 3, 4])}
    second = {process for _, (_, process) in pool.run(add, [5, 6])}
    assert second <= first or len(first | second) <= 2
    with pytest.raises(ValueError, match="bad task -1"):
        list(pool.run(add, [1, -1]))
    pool.close()


def test_nothing_to_do() -> None:
    assert list(run_tasks(add, make_state, [], 2)) == []


def threads(state: int, task: int) -> tuple[int, int]:
    import cv2
    import torch

    return torch.get_num_threads(), cv2.getNumThreads()


def test_worker_processes_have_one_thread_for_a_torch_that_they_import_late() -> None:
    assert set(dict(run_tasks(threads, make_state, [1, 2, 3], 2)).values()) == {(1, 1)}


def test_threads_are_as_before_after_a_block_of_one() -> None:
    import torch

    before = torch.get_num_threads()
    torch.set_num_threads(2)
    try:
        for with_torch in (True, False):  # it is imported already, so that it counts either way
            with single_thread(with_torch):
                assert torch.get_num_threads() == 1
            assert torch.get_num_threads() == 2
    finally:
        torch.set_num_threads(before)
