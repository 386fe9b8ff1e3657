# SPDX-License-Identifier: Apache-2.0
"""Serve Keystone with waitress. Runs in Keystone's own environment, as a program.

usage: python keystone_serve.py CONFIG ADDRESS PORT

Real threads: Keystone's password hashing would block an event loop.
"""
import os
import sys


def main() -> None:
    config, address, port = sys.argv[1:]
    # Keystone parses the command line of whatever process imports it
    del sys.argv[1:]
    os.environ["OS_KEYSTONE_CONFIG_FILES"] = config
    import waitress
    from keystone.wsgi.api import application

    waitress.serve(application, listen=f"{address}:{port}", threads=8, ident=None)


if __name__ == "__main__":
    main()
