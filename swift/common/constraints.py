# SPDX-License-Identifier: Apache-2.0
"""Limits on names, metadata and sizes; swift.conf's [swift-constraints] may change them."""

from swift.common.conf import config_int, read_swift_conf
from swift.common.exceptions import ConfigError
from swift.common.request import answer

DEFAULTS = {
    'max_file_size': 5368709122,
    'max_meta_name_length': 128,
    'max_meta_value_length': 256,
    'max_meta_count': 90,
    'max_meta_overall_size': 4096,
    'max_header_size': 8192,
    'max_request_line': 8192,
    'max_object_name_length': 1024,
    'container_listing_limit': 10000,
    'account_listing_limit': 10000,
    'max_account_name_length': 256,
    'max_container_name_length': 256,
    'extra_header_count': 0,
    'auto_create_account_prefix': '.',
}
VALID_API_VERSIONS = ('v1', 'v1.0')


class Constraints:
    """The limits in force, as attributes named like the options."""

    max_file_size: int
    max_meta_name_length: int
    max_meta_value_length: int
    max_meta_count: int
    max_meta_overall_size: int
    max_header_size: int
    container_listing_limit: int
    account_listing_limit: int
    auto_create_account_prefix: str

    def __init__(self, options=None):
        options = options or {}
        for name, default in DEFAULTS.items():
            if isinstance(default, int):
                setattr(self, name, config_int(options, name, default))
            else:
                setattr(self, name, options.get(name, default))
        versions = options.get('valid_api_versions')
        self.valid_api_versions = tuple(
            v.strip() for v in versions.split(',')) if versions else VALID_API_VERSIONS

    @classmethod
    def load(cls):
        """From swift.conf; the defaults when there is none."""
        try:
            return cls(read_swift_conf().get('swift-constraints'))
        except ConfigError as e:
            if isinstance(e.__cause__, FileNotFoundError):
                return cls()
            raise

    def info(self):
        """What ``/info`` says of them."""
        return {name: getattr(self, name) for name in DEFAULTS
                if name != 'auto_create_account_prefix'} | {
                    'valid_api_versions': list(self.valid_api_versions)}

    def check_metadata(self, req, kind):
        """A 400 response that names what is too much, or None.

        ``kind`` is account, container or object. Names must be UTF-8, and values but an object's.
        """
        prefix = f'HTTP_X_{kind.upper()}_META_'
        start = len(prefix)
        count = total = 0
        for key, value in req.environ.items():
            if key[:5] != 'HTTP_':
                continue
            # keystonemiddleware puts None where a token has no such thing
            if value and len(value) > self.max_header_size:
                return answer(400, 'Header value too long: '
                              + key[5:].replace('_', '-').title()[:self.max_meta_name_length])
            if not key.startswith(prefix):
                continue
            name = key[start:]
            if not name:
                return answer(400, 'Metadata name cannot be empty')
            if not (name.isascii() and value.isascii()):
                try:
                    name.encode('latin-1').decode('utf-8')
                    if kind != 'object':         # objects keep any bytes they are given
                        value.encode('latin-1').decode('utf-8')
                except UnicodeError:
                    return answer(400, 'Metadata must be valid UTF-8')
            shown = f"X-{kind.title()}-Meta-{name.replace('_', '-').title()}"
            if '\0' in value:
                return answer(400, f'Metadata value of {shown} contains NULL')
            if len(name) > self.max_meta_name_length:
                return answer(400, f'Metadata name too long: {shown}')
            if len(value) > self.max_meta_value_length:
                return answer(400, f'Metadata value longer than {self.max_meta_value_length}: '
                              f'{shown}')
            count += 1
            total += len(name) + len(value)
        if count > self.max_meta_count:
            return answer(400, f'Too many metadata items; max {self.max_meta_count}')
        if total > self.max_meta_overall_size:
            return answer(400, f'Total metadata too large; max {self.max_meta_overall_size}')
        return None

    def check_name(self, kind, name):
        """A 400 response when the name of an account, container or object is too long, or None."""
        limit = getattr(self, f'max_{kind}_name_length')
        if len(name) > limit:          # letters, as Swift counts, not bytes
            return answer(400, f'{kind.title()} name length of {len(name)} longer than {limit}')
        if kind == 'container' and '/' in name:
            return answer(400, 'Container name cannot contain slashes')
        return None
