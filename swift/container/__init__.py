# SPDX-License-Identifier: Apache-2.0
"""Containers: a database of objects each, the server over them and what keeps them whole."""
