# SPDX-License-Identifier: Apache-2.0
"""Where image metadata lives: the database, its REST service and the clients of either."""
