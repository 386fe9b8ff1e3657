# SPDX-License-Identifier: Apache-2.0
"""What operators' tools show of a cluster: where things live, what files and servers say."""
