# SPDX-License-Identifier: Apache-2.0
"""Accounts: a database of containers each, the server over them and what keeps them whole."""
