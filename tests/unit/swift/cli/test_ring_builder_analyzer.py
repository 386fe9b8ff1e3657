# SPDX-License-Identifier: Apache-2.0
"""swift-ring-builder-analyzer: scenarios, good and bad."""
import json
import re

import pytest

from swift.cli import ring_builder_analyzer
from swift.common.ring import RingBuilder

FINE = {"replicas": 3, "part_power": 6, "random_seed": 5, "overload": 0.1, "rounds": [
    [["add", f"r1z{n}-10.0.0.{n}:6200/sda", 100] for n in (1, 2, 3)],
    [["add", "r1z4-10.0.0.4:6200/sda", 50]], [["set_weight", 3, 100]], [["remove", 0]]]}


def run(tmp_path, capsys, scenario, *options):
    path = tmp_path / "scenario.json"
    path.write_text(scenario if isinstance(scenario, str) else json.dumps(scenario))
    code = ring_builder_analyzer.main([str(path), *options])
    return code, *capsys.readouterr()


def test_a_scenario_is_played_until_nothing_moves(tmp_path, capsys):
    saved = tmp_path / "saved.builder"
    scenario = {**FINE, "rounds": [*FINE["rounds"], [["save", str(saved)]]]}
    code, out, _ = run(tmp_path, capsys, scenario)
    assert code == 0
    rounds = [part.splitlines()[1:] for part in out.split("Round ")[1:]]
    assert len(rounds) == 5
    assert rounds[0][0] == "\tRebalance 1: moved 192 parts, balance is 0.000000, 0 removed devs"
    assert all(lines[-1].startswith(f"\tRebalance {len(lines)}: moved 0 parts") for lines in rounds)
    assert any(", 1 removed devs" in line for line in rounds[3])
    assert float(re.search(r"balance is ([\d.]+)", rounds[3][-1])[1]) < 5
    builder = RingBuilder.load(str(saved))
    assert [dev["id"] for dev in builder.live_devs()] == [1, 2, 3]
    assert run(tmp_path, capsys, scenario)[1] == out


def test_checking_plays_nothing(tmp_path, capsys):
    assert run(tmp_path, capsys, FINE, "--check") == (0, "", "")


@pytest.mark.parametrize("change, says", [
    ({"part_power": 33}, "part_power must be"), ({"part_power": True}, "part_power must be"),
    ({"replicas": "x"}, "replicas must be"), ({"replicas": 0.5}, "replicas must be"),
    ({"overload": -1}, "overload must be"), ({"random_seed": 1.5}, "random_seed must be"),
    ({"rounds": [1]}, "rounds must be"), ({"rounds": [[["foo"]]]}, "Unknown command (round 0"),
    ({"rounds": [[[]]]}, "Unknown command"), ({"rounds": [[{}]]}, "Unknown command"),
    ({"rounds": [[["add", "r1z1", 5]]]}, "Invalid add value"),
    ({"rounds": [[["add", "r1z1-1.2.3.4:1/a"]]]}, "Bad arguments of add"),
    ({"rounds": [[["set_weight", 0, "x"]]]}, "Bad arguments of set_weight"),
    ({"rounds": [[["remove", -1]]]}, "Bad arguments of remove"),
    ({"rounds": [[["remove", 7]]]}, "no device with id 7"),
    ({"rounds": [[]]}, "no devices"),
])
def test_bad_scenarios_are_refused(tmp_path, capsys, change, says):
    code, _, err = run(tmp_path, capsys, {**FINE, **change})
    assert code == 1 and says in err


def test_what_is_no_scenario(tmp_path, capsys):
    for text in ("[]", "{", "{}"):
        code, _, err = run(tmp_path, capsys, text)
        assert code == 1 and "Invalid scenario" in err
    assert ring_builder_analyzer.main([str(tmp_path / "nowhere")]) == 1
