# SPDX-License-Identifier: Apache-2.0
"""tools/stack with a daemon a role over RabbitMQ, its databases on a real server."""
import json
import subprocess
import sys
from pathlib import Path

import pytest
import sqlalchemy
from stacklib import backing

CHECKOUT = Path(__file__).resolve().parents[2]
TIMEOUT = 400
PORT_BASE = 21000

pytestmark = [pytest.mark.whole, pytest.mark.timeout(1200)]


def stack(data, command, *arguments, check=True):
    done = subprocess.run(
        [sys.executable, str(CHECKOUT / "tools/stack"), command, "--data", str(data), *arguments],
        capture_output=True, text=True, timeout=TIMEOUT, check=False)
    assert done.returncode == 0 or not check, done.stdout + done.stderr
    return done


def databases(server):
    """Names of the stacks' databases on a server."""
    where = server + ("postgres" if server.startswith("postgresql") else "")
    engine = sqlalchemy.create_engine(where)
    question = ("SELECT datname FROM pg_database" if engine.dialect.name == "postgresql"
                else "SHOW DATABASES")
    with engine.connect() as connection:
        names = connection.execute(sqlalchemy.text(question)).scalars().all()
    engine.dispose()
    return {name for name in names if name.startswith("snakestack_")}


def queues(amqp_url):
    done = subprocess.run(["rabbitmqctl", "-q", "--no-table-headers", "list_queues", "-p",
                           amqp_url.rpartition("/")[2], "name"], capture_output=True, text=True,
                          timeout=60, check=True)
    return set(done.stdout.split())


@pytest.mark.parametrize("kind", ["mariadb", "postgresql"])
def test_up_status_down_up_reset(kind, tmp_path, amqp_url):
    backing.ensure(kind)
    server = backing.MYSQL_URL if kind == "mariadb" else backing.POSTGRESQL_URL
    data = tmp_path / "stack"
    options = ("--no-packages", "--port-base", str(PORT_BASE), "--compute", "fake", "--broker",
               amqp_url, "--db", server, "--computes", "2")
    try:
        assert "up in " in stack(data, "up", *options, "nova").stdout
        prefix = json.loads((data / "stack.json").read_text())["facts"]["databases"]
        mine = {name for name in databases(server) if name.startswith(prefix)}
        assert mine == {f"{prefix}_{name}" for name in ("keystone", "glance", "nova")}
        assert "compute.scheduler" not in queues(amqp_url) and "scheduler" in queues(amqp_url)
        found = json.loads(stack(data, "status", "--json").stdout)
        assert {name for name in found["daemons"] if name.startswith("nova")} == {
            "nova-api", "nova-compute-1", "nova-compute-2", "nova-network", "nova-scheduler",
            "nova-volume"}
        assert all(row["answers"] for row in found["daemons"].values())
        assert "rpc scheduler.schedule_instances ok" in stack(data, "logs", "nova-scheduler").stdout
        # the password of others' servers is nobody else's to read
        assert (data / "stack.json").stat().st_mode & 0o077 == 0

        other = tmp_path / "other"
        refused = stack(other, "up", "--no-packages", "--port-base", str(PORT_BASE + 1000),
                        "--compute", "fake", "--broker", amqp_url, "nova", check=False)
        assert refused.returncode == 1 and "a virtual host of its own" in refused.stderr
        assert "guest:guest" not in refused.stderr

        stack(data, "down")
        assert "server first ACTIVE" in stack(data, "up", "--no-packages").stdout
        fewer = stack(data, "up", "--no-packages", "--computes", "1", check=False)
        assert fewer.returncode == 1 and "there can only be more" in fewer.stderr
    finally:
        stack(data, "reset", "--yes")
    assert not mine & databases(server)
    assert {name for name in queues(amqp_url) if "." not in name} == set()
    assert not data.exists()
