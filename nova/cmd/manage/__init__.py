# SPDX-License-Identifier: Apache-2.0
"""nova-manage: what an operator does on the host itself.  One file per category.

A category is a module with ``DESCRIPTION`` and ``commands(category)``, which calls
``category.add(name, function, help)`` and adds arguments to the parser it gets back.  A function
takes the parsed arguments and returns an exit status or None; what it raises of
:mod:`nova.exception` is printed as one line and ends with status 1.
"""
