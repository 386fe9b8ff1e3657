# SPDX-License-Identifier: Apache-2.0
"""tools/stack after its bootstrap: python -m stacklib COMMAND ..."""
import sys

from stacklib.arguments import parse
from stacklib.cli import main

sys.exit(main(parse(sys.argv[1:])))
