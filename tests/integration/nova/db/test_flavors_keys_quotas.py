# SPDX-License-Identifier: Apache-2.0
"""Flavors, key pairs and quotas on each real database, also by many at once."""

import threading

import pytest

from nova import exception, quota
from nova.db import flavors, keypairs, quotas

THREADS = 8


def in_parallel(function):
    """Run a function in several threads at once; return what each gave or raised."""
    results, start = [], threading.Barrier(THREADS)

    def run(number):
        start.wait(30)
        try:
            results.append(function(number))
        except exception.NovaError as error:
            results.append(error)
    threads = [threading.Thread(target=run, args=(number,)) for number in range(THREADS)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(60)
    assert len(results) == THREADS
    return results


def make(flavorid, **more):
    return flavors.create({"flavorid": flavorid, "name": f"n{flavorid}", "vcpus": 1,
                           "memory_mb": 64, **more})


def test_flavors_page_in_every_order(any_db):
    for number in range(7):
        make(str(number), memory_mb=64 * (number % 3 + 1), root_gb=number)
    make("p", is_public=False)
    for sort in ((("flavorid", "asc"),), (("memory_mb", "desc"), ("name", "asc")),
                 (("memory_mb", "asc"),), (("is_public", "desc"),)):
        whole = [one.flavorid for one in flavors.get_all(sort=sort)]
        assert len(whole) == 8
        paged, marker = [], None
        while page := flavors.get_all(sort=sort, marker=marker, limit=3):
            paged += [one.flavorid for one in page]
            marker = paged[-1]
        assert paged == whole
    assert "p" not in [one.flavorid for one in flavors.get_all(project_id="a")]
    with pytest.raises(exception.BadRequest):
        flavors.get_all(project_id="a", marker="p")
    assert [one.flavorid for one in flavors.get_all(min_memory_mb=192)] == ["2", "5"]


def test_one_of_many_makes_a_flavor(any_db):
    results = in_parallel(lambda _number: make("1"))
    errors = [one for one in results if isinstance(one, exception.NovaError)]
    assert len(errors) == THREADS - 1
    assert {type(one) for one in errors} == {exception.AlreadyExists}


def test_bug_names_that_differ_in_case_were_one(any_db):
    make("a")
    make("A")
    assert (flavors.get("a").name, flavors.get("A").name) == ("na", "nA")
    for name in ("key", "Key"):
        keypairs.create("u", name, "aa", f"ssh-rsa {name}")
    assert keypairs.get("u", "Key").public_key == "ssh-rsa Key"
    with pytest.raises(exception.KeyPairNotFound):
        keypairs.remove("u", "KEY")
    assert len(keypairs.get_all("u")) == 2


def test_access_and_extra_specs_are_not_lost(any_db):
    make("p", is_public=False)
    in_parallel(lambda number: flavors.change_extra_specs("p", {f"k{number}": "v"}))
    assert len(flavors.get("p").extra_specs) == THREADS
    in_parallel(lambda number: flavors.add_access("p", f"project{number}"))
    assert len(flavors.access_of("p")) == THREADS
    with pytest.raises(exception.AlreadyExists):
        flavors.add_access("p", "project0")
    assert flavors.get("p", "project0").flavorid == "p"
    flavors.remove_access("p", "project0")
    for call in (lambda: flavors.get("p", "project0"),
                 lambda: flavors.remove_access("p", "project0")):
        with pytest.raises(exception.NotFound):
            call()
    flavors.delete_one("p")
    assert flavors.get_all() == []


def test_key_pairs_never_exceed_their_quota(any_db):
    def add(number):
        def guard(session):
            quota.lock_project(session, "p")
            quota.check_count("key_pairs", keypairs.count(session, "u") + 1, 3)
        return keypairs.create("u", f"k{number}", "aa", "ssh-rsa AAAA", guard=guard)
    in_parallel(add)
    found = [one.name for one in keypairs.get_all("u")]
    assert len(found) == 3
    assert [one.name for one in keypairs.get_all("u", marker=found[0], limit=1)] == [found[1]]
    results = in_parallel(lambda _number: keypairs.create("v", "same", "aa", "ssh-rsa AAAA"))
    assert sum(isinstance(one, exception.AlreadyExists) for one in results) == THREADS - 1
    keypairs.remove("v", "same")
    with pytest.raises(exception.KeyPairNotFound):
        keypairs.remove("v", "same")


def test_limits_are_set_by_many_and_forgotten(any_db):
    in_parallel(lambda number: quotas.set_limits("p", {"instances": number, "cores": number}))
    limits = quotas.limits_of("p")
    assert set(limits) == {"instances", "cores"} and quotas.limits_of("q") == {}
    quotas.forget_limits("p", ["cores", "ports"])
    assert set(quotas.limits_of("p")) == {"instances"}
    quotas.forget_limits("p")
    assert quotas.limits_of("p") == {}
