# SPDX-License-Identifier: Apache-2.0
"""The EC2 query API, driven by botocore's own models of it; one module a subject of actions."""
