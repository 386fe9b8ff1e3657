# SPDX-License-Identifier: Apache-2.0
"""Liveness by kernel lock."""

import os

import pytest

from glance.image.worker import Worker


@pytest.fixture
def worker(tmp_path):
    worker = Worker(tmp_path / "workers")
    yield worker
    worker.close()


def test_its_own_uploads(worker):
    worker.uploads.add("a")
    assert worker.is_alive(worker.id, "a") is True
    assert worker.is_alive(worker.id, "b") is False


def test_another_process_by_its_lock(worker):
    other = Worker(worker.directory)
    assert worker.is_alive(other.id, "x") is True
    name = other.id
    descriptor, other._descriptor = other._descriptor, -1
    os.close(descriptor)  # what the kernel does at any kind of death
    assert worker.is_alive(name, "x") is False
    assert worker.is_alive(name, "x") is False


def test_another_machine_is_unknown(worker, tmp_path):
    elsewhere = Worker(tmp_path / "elsewhere")
    assert worker.is_alive(elsewhere.id, "x") is None
    elsewhere.close()


@pytest.mark.parametrize("worker_id", [None, ""])
def test_nobody(worker, worker_id):
    assert worker.is_alive(worker_id, "x") is False


@pytest.mark.parametrize("worker_id", ["x", "a:b", "a:b:c:d", ":::"])
def test_what_nobody_wrote(worker, worker_id):
    assert worker.is_alive(worker_id, "x") is None


def test_sweep_spares_the_living(worker):
    other = Worker(worker.directory)
    worker.sweep()
    assert len(list(worker.directory.glob("*.lock"))) == 2
    other.close()
    worker.sweep()
    assert [path.stem for path in worker.directory.glob("*.lock")] == [worker._name]
