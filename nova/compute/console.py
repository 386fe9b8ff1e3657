# SPDX-License-Identifier: Apache-2.0
"""A guest's console as text that any message can carry."""

MAX_BYTES = 100 * 1024      # of the console's end; what went before is not shown


def text_of(output: bytes, lines: int | None = None) -> str:
    """Return the last ``lines`` lines (None: all) of a console's bytes as text.

    Bytes that are no UTF-8 become the replacement character, control characters that JSON's and
    XML's readers stumble over are dropped; tabs, line ends and escape sequences stay.
    """
    text = output[-MAX_BYTES:].decode("utf-8", errors="replace")
    text = "".join(one for one in text if one >= " " or one in "\n\r\t\x1b")
    if lines is None:
        return text
    if lines <= 0:
        return ""
    return "\n".join(text.rstrip("\n").split("\n")[-lines:])
