# SPDX-License-Identifier: Apache-2.0
"""Objects: files on devices, the server over them and what keeps them whole."""
