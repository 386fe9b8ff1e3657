# SPDX-License-Identifier: Apache-2.0
"""From a client's bytes to bytes of fragment archives, and back. Arithmetic only."""


def fragment_range(first, last, segment_size, fragment_size):
    """The Range value that covers, in an archive, the segments with an object's bytes.

    ``first`` and ``last`` as in a Range header, either may be None. The object's length is not
    known yet: of the last bytes as many segments are asked for as may hold them, and what the
    answer begins with may be a piece of a fragment (`skip_to_fragment`).
    """
    if first is None:
        return f'bytes=-{(-(-last // segment_size) + 1) * fragment_size}'
    start = first // segment_size * fragment_size
    if last is None:
        return f'bytes={start}-'
    return f'bytes={start}-{(last // segment_size + 1) * fragment_size - 1}'


def skip_to_fragment(start, fragment_size):
    """How many bytes from ``start`` of an archive to the next fragment."""
    return -start % fragment_size
