# SPDX-License-Identifier: Apache-2.0
"""Ring and builder files of one are used, and changed, by the other's tools and servers."""
import json
import os
import subprocess
import sys

import pytest
from real_swift import real_command, real_python

pytestmark = [pytest.mark.whole, pytest.mark.timeout(600)]      # twenty processes a test
TIMEOUT = 120
LOOK_UP = """
import json, sys
from swift.common.ring import Ring
try:
    from swift.common import utils
    utils.HASH_PATH_PREFIX, utils.HASH_PATH_SUFFIX = b"p", b"s"
except ImportError:
    from swift.common import storage
    storage.set_hash_secrets(b"p", b"s")
ring = Ring(sys.argv[1], ring_name="object")
out = []
for part in range(ring.partition_count):
    out.append([[n["id"], n["index"]] for n in ring.get_part_nodes(part)])
    out.append([n["id"] for n in ring.get_more_nodes(part)])
out.append([ring.get_nodes("a", "c", f"o{n}")[0] for n in range(50)])
print(json.dumps(out))
"""


def ours(*arguments, code=(0, 1)):
    done = subprocess.run([sys.executable, "-m", "swift.cli.ringbuilder", *map(str, arguments)],
                          capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode in code, done.stdout + done.stderr
    return done.stdout


def real(*arguments, code=(0, 1)):
    folder = arguments[0].parent
    (folder / "swift.conf").write_text("[swift-hash]\nswift_hash_path_suffix = s\n")
    done = subprocess.run(
        real_command("swift.cli.ringbuilder", *map(str, arguments)), capture_output=True,
        env=dict(os.environ, SWIFT_DIR=str(folder)), text=True, timeout=TIMEOUT, check=False)
    assert done.returncode in code, done.stdout + done.stderr
    return done.stdout


def nodes(python, folder):
    return json.loads(subprocess.run(
        [python, "-P", "-W", "ignore", "-c", LOOK_UP, str(folder)], capture_output=True, text=True,
        timeout=TIMEOUT, check=True, cwd="/").stdout)


TOOLS = {"ours": (ours, real), "real": (real, ours)}


@pytest.mark.parametrize("form", [(), ("--format-version", "2")], ids=["v1", "v2"])
@pytest.mark.parametrize("writer", TOOLS)
def test_a_builder_goes_to_and_fro(tmp_path, writer, form):
    first, second = TOOLS[writer]
    builder = tmp_path / "object.builder"
    first(builder, "create", 6, 3, 1)
    first(builder, "add", *(word for n in range(8) for word in (
        f"r{1 + n % 2}z{n % 4}-10.0.{n % 4}.{n}:6200R10.1.0.{n}:6201/sd{n}_meta{n}", 100 + n)))
    first(builder, "rebalance", "--seed", "1", *form)
    second(builder, "validate")
    assert nodes(sys.executable, tmp_path) == nodes(real_python(), tmp_path)
    second(builder, "set_weight", "d3", "40")
    second(builder, "remove", "d5")
    second(builder, "set_replicas", "2.5")
    second(builder, "pretend_min_part_hours_passed")
    second(builder, "rebalance", "--seed", "2", *form)
    assert nodes(sys.executable, tmp_path) == nodes(real_python(), tmp_path)
    first(builder, "pretend_min_part_hours_passed")
    first(builder, "set_overload", "10%")
    first(builder, "rebalance", "-f", *form)
    first(builder, "validate")
    second(builder, "validate")
    second(builder, "dispersion", "-v")
    builder.unlink()
    second(tmp_path / "object.ring.gz", "write_builder", "24")
    first(builder, "validate")
    assert nodes(sys.executable, tmp_path) == nodes(real_python(), tmp_path)
