# SPDX-License-Identifier: Apache-2.0
"""Sphinx: build with  sphinx-build -W -b html doc doc/build."""
import sys
from pathlib import Path

sys.path[:0] = [str(Path(__file__).parent), str(Path(__file__).parents[1])]

project = "snakestack"
author = "the snakestack authors"
copyright = "the snakestack authors"
extensions = ["api_matrix", "security_rows", "unheeded_options"]
exclude_patterns = ["build"]
html_theme = "alabaster"
html_theme_options = {"page_width": "70em", "description": "nova, glance and swift, readable"}
