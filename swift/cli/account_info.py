# SPDX-License-Identifier: Apache-2.0
"""swift-account-info FILE: what the database of an account holds, and where its replicas are."""
from swift.inspection.databases import run


def main() -> int:
    """Run the program; its exit code."""
    return run("account")


if __name__ == "__main__":
    raise SystemExit(main())
