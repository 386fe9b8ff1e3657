# SPDX-License-Identifier: Apache-2.0
"""swift-container-info FILE: what the database of a container holds, and where its replicas are."""
from swift.inspection.databases import run


def main() -> int:
    """Run the program; its exit code."""
    return run("container")


if __name__ == "__main__":
    raise SystemExit(main())
