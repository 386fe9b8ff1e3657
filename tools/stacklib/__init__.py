# SPDX-License-Identifier: Apache-2.0
"""What tools/stack and tools/run_tests are made of.

`packages` and `backing` are imported before any virtual environment exists and use the standard
library alone. The rest runs inside the product's environment.
"""
