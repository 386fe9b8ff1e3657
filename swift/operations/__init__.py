# SPDX-License-Identifier: Apache-2.0
"""What operators' tools do to nodes and clusters: processes, drives, samples.

Only swift.cli calls.
"""
