# SPDX-License-Identifier: Apache-2.0
"""Every option is in the sample, with a help text."""

import importlib
import pkgutil
import subprocess
import sys
from pathlib import Path

import nova
from nova import opts

SAMPLE = Path(nova.__file__).parents[1] / "etc/nova/nova.conf.sample"


def test_every_option_in_the_code_is_in_the_sample():
    """Imported in a process of its own, so that other tests' options do not count."""
    script = """
import importlib, pkgutil
import nova
from oslo_config import cfg
for module in pkgutil.walk_packages(nova.__path__, "nova."):
    if not module.name.startswith(("nova.cmd.", "nova.db.migrations.")):
        importlib.import_module(module.name)
ours = {name for name, info in cfg.CONF._opts.items()}
for group, values in cfg.CONF._groups.items():
    ours |= {f"{group}.{name}" for name in values._opts}
print("\\n".join(sorted(ours)))
"""
    done = subprocess.run([sys.executable, "-W", "ignore", "-c", script], capture_output=True,
                          text=True, timeout=60, check=True)
    listed = {(f"{group}." if group != "DEFAULT" else "") + option.dest
              for group, options in opts.list_opts() for option in options}
    # Those of libraries are in the sample through the libraries' own lists.
    foreign = {"keystone_authtoken", "oslo_policy", "oslo_concurrency"}
    registered = {name for name in done.stdout.split()
                  if name.partition(".")[0] not in foreign}
    from oslo_log import _options
    registered -= {option.dest for _group, options in _options.list_opts() for option in options}
    assert registered - listed - {"config_file", "config_dir", "config_source", "debug",
                                  "shell_completion"} == set()


def test_the_sample_is_up_to_date():
    text = SAMPLE.read_text()
    for group, options in opts.list_opts():
        assert f"[{group}]" in text
        for option in options:
            if not option.deprecated_for_removal:
                assert f"#{option.dest} =" in text, option.dest


def test_every_option_says_what_it_does():
    for _group, options in opts.list_opts():
        for option in options:
            assert option.help and len(option.help) > 10, option.name


def test_every_module_can_be_imported_unpatched():
    for module in pkgutil.iter_modules(nova.__path__, "nova."):
        importlib.import_module(module.name)
