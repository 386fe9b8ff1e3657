# SPDX-License-Identifier: Apache-2.0
"""A day's work of S3 clients, unmodified: AWS CLI, boto3 before 1.36, s3cmd, rclone, restic.

The clients are installed once a machine, each where it disturbs nobody.
"""
import fcntl
import filecmp
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
import requests
from client_files import BIG, same
from stacklib import packages
from swift_cluster import SwiftCluster

CLIENTS = {"awscli": ("awscli==1.44.86",), "old-boto3": ("boto3==1.35.99",),
           "s3cmd": ("s3cmd==2.4.0",)}
DEBIAN = ("rclone", "restic")
INSTALL_TIMEOUT = 900
TIMEOUT = 300
KEY, SECRET = "test:tester", "testing"

pytestmark = [pytest.mark.whole, pytest.mark.timeout(1500)]


@pytest.fixture(scope="module")
def clients():
    """A function: the folder of programs of a client from PyPI."""
    packages.apt_install(DEBIAN)
    cache = Path(tempfile.gettempdir()) / "snakestack-test-cache"
    cache.mkdir(exist_ok=True)

    def folder(name):
        venv = cache / f"s3-{'-'.join(CLIENTS[name]).replace('==', '-')}"
        with open(cache / f"s3-{name}.lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            if not (venv / "complete").exists():
                subprocess.run([sys.executable, "-m", "venv", "--clear", venv], check=True,
                               timeout=120)
                subprocess.run([venv / "bin/python", "-m", "pip", "install", "-q",
                                "--disable-pip-version-check", *CLIENTS[name]],
                               check=True, timeout=INSTALL_TIMEOUT)
                (venv / "complete").touch()
        return venv / "bin"
    return folder


@pytest.fixture(scope="module")
def store(tmp_path_factory):
    with SwiftCluster(tmp_path_factory.mktemp("s3")) as cluster:
        yield cluster


@pytest.fixture
def run(store, tmp_path):
    """Run a client with nothing but its usual settings; its output."""
    def call(*command, **environment):
        done = subprocess.run(
            [str(part) for part in command], capture_output=True, text=True, timeout=TIMEOUT,
            check=False, cwd=tmp_path, env={
                "PATH": os.environ["PATH"], "HOME": str(tmp_path), "LANG": "C.UTF-8",
                "AWS_ACCESS_KEY_ID": KEY, "AWS_SECRET_ACCESS_KEY": SECRET,
                "AWS_DEFAULT_REGION": "us-east-1", "AWS_ENDPOINT_URL_S3": store.url,
                **environment})
        assert done.returncode == 0, f"{command}:\n{done.stdout[-3000:]}\n{done.stderr[-5000:]}"
        return done.stdout
    return call


def test_aws_cli(clients, run, files, tmp_path):
    def aws(*words):
        return run(clients("awscli") / "aws", *words)

    aws("s3", "mb", "s3://by-aws")
    assert "by-aws" in aws("s3", "ls")
    aws("s3", "cp", files / "big", "s3://by-aws/one")
    listing = aws("s3api", "list-objects-v2", "--bucket", "by-aws", "--query",
                  "Contents[0].[Size,ETag]", "--output", "text")
    assert listing.split()[0] == str(BIG) and "-3" in listing
    aws("s3", "sync", files, "s3://by-aws/tree")
    assert aws("s3", "sync", files, "s3://by-aws/tree") == ""          # nothing to do
    aws("s3", "sync", "s3://by-aws/tree", tmp_path / "back")
    assert same(files, tmp_path / "back")
    aws("s3", "cp", "s3://by-aws/one", "s3://by-aws/two")
    aws("s3", "mv", "s3://by-aws/two", "s3://by-aws/three")
    url = aws("s3", "presign", "s3://by-aws/three").strip()
    assert requests.get(url, timeout=60).content == (files / "big").read_bytes()
    aws("s3", "rm", "--recursive", "s3://by-aws")
    assert aws("s3", "ls", "s3://by-aws", "--recursive") == ""
    aws("s3", "rb", "s3://by-aws")


def test_boto3_before_1_36(clients, run, files, tmp_path):
    script = tmp_path / "day.py"
    script.write_text(f"""
import boto3, io, sys
s3 = boto3.client("s3")
s3.create_bucket(Bucket="by-old-boto3")
s3.upload_file({str(files / "big")!r}, "by-old-boto3", "big")
s3.put_object(Bucket="by-old-boto3", Key="k", Body=b"x", Metadata={{"a_b": "c"}})
assert s3.head_object(Bucket="by-old-boto3", Key="k")["Metadata"] == {{"a_b": "c"}}
out = io.BytesIO()
s3.download_fileobj("by-old-boto3", "big", out)
assert out.getvalue() == open({str(files / "big")!r}, "rb").read()
print(len(boto3.resource("s3").Bucket("by-old-boto3").objects.all().delete()[0]["Deleted"]))
s3.delete_bucket(Bucket="by-old-boto3")
print(boto3.__version__)
""")
    assert run(clients("old-boto3") / "python", "-W", "ignore", script).split() == ["2", "1.35.99"]


@pytest.mark.parametrize("version", ["2", "4"])
def test_s3cmd(clients, run, store, files, tmp_path, version):
    host = store.url.removeprefix("http://")
    common = ["--access_key", KEY, "--secret_key", SECRET, "--host", host, "--host-bucket", host,
              "--no-ssl", "--region", "us-east-1", "--no-progress",
              *(["--signature-v2"] if version == "2" else [])]

    def s3cmd(*words):
        return run(clients("s3cmd") / "s3cmd", *common, *words)

    bucket = f"s3://by-s3cmd-{version}"
    s3cmd("mb", bucket)
    s3cmd("put", "--multipart-chunk-size-mb=5", files / "big", f"{bucket}/big")
    s3cmd("get", f"{bucket}/big", tmp_path / "big")
    assert filecmp.cmp(files / "big", tmp_path / "big", shallow=False)
    s3cmd("sync", f"{files}/", f"{bucket}/tree/")
    (tmp_path / "back").mkdir()
    s3cmd("sync", f"{bucket}/tree/", f"{tmp_path}/back/")
    assert same(files, tmp_path / "back")
    s3cmd("cp", f"{bucket}/tree/small", f"{bucket}/copy")
    s3cmd("mv", f"{bucket}/copy", f"{bucket}/moved")
    assert "File size: 10" in s3cmd("info", f"{bucket}/moved")
    s3cmd("setacl", "--acl-public", bucket)
    assert "anon" in s3cmd("info", bucket)
    url = s3cmd("signurl", f"{bucket}/moved", "+600").strip().replace("https:", "http:")
    assert requests.get(url, timeout=60).content == (files / "small").read_bytes()
    s3cmd("del", "--recursive", "--force", bucket)
    s3cmd("rb", bucket)


@pytest.mark.parametrize("signature", ["v2_auth=true", "v2_auth=false"])
def test_rclone(run, store, files, tmp_path, signature):
    remote = (f":s3,provider=Other,access_key_id='{KEY}',secret_access_key={SECRET},"
              f"endpoint='{store.url}',region=us-east-1,chunk_size=5Mi,upload_cutoff=5Mi,"
              f"{signature}:by-rclone-{signature[-4:].strip('=')}")

    def rclone(*words):
        return run("rclone", "--config", "/dev/null", "-q", *words)

    rclone("mkdir", remote)
    rclone("sync", files, remote + "/tree")
    rclone("check", files, remote + "/tree")
    rclone("sync", remote + "/tree", tmp_path / "back")
    assert same(files, tmp_path / "back")
    (files / "small").write_text("changed")
    (files / "empty").unlink()
    rclone("sync", files, remote + "/tree")
    assert sorted(line.split(maxsplit=1)[1] for line in
                  rclone("ls", remote).splitlines()) == sorted(
        f"tree/{p.relative_to(files)}" for p in files.rglob("*") if p.is_file())
    rclone("moveto", remote + "/tree/small", remote + "/tree/moved")
    assert rclone("cat", remote + "/tree/moved") == "changed"
    rclone("purge", remote)


def test_restic(run, store, files, tmp_path):
    (tmp_path / "password").write_text("secret")

    def restic(*words):
        return run("restic", "-r", f"s3:{store.url}/by-restic/repository", "-p",
                   tmp_path / "password", "--no-cache", *words)

    restic("init")
    restic("backup", files)
    (files / "small").write_text("changed")
    restic("backup", files)
    restic("restore", "latest", "--target", tmp_path / "back")
    assert same(files, tmp_path / "back" / str(files).lstrip("/"))
    restic("forget", "--keep-last", "1", "--prune")
    restic("check", "--read-data")
    assert restic("snapshots", "--compact").count("snapshot") == 1
