# SPDX-License-Identifier: Apache-2.0
"""What tools/bench is made of: accounting of CPU, a load generator, one module per service."""
