# SPDX-License-Identifier: Apache-2.0
"""swift-form-signature: sign an upload form (formpost), and show a form with it.

    swift-form-signature /v1/AUTH_a/c/prefix https://example.com/done 5368709120 10 600 KEY

PATH is what file names are appended to; REDIRECT may be "". KEY is the account's or container's
temporary URL key.
"""
from __future__ import annotations

import argparse
import html
import time

from swift.common.middleware.formpost import sign_form

FORM = '''<form action="{path}" method="POST" enctype="multipart/form-data">
  <input type="hidden" name="redirect" value="{redirect}" />
  <input type="hidden" name="max_file_size" value="{size}" />
  <input type="hidden" name="max_file_count" value="{count}" />
  <input type="hidden" name="expires" value="{expires}" />
  <input type="hidden" name="signature" value="{signature}" />
{files}
  <input type="submit" />
</form>'''


def positive(text: str) -> int:
    """A whole number of at least 1."""
    if not text.isdigit() or int(text) < 1:
        raise argparse.ArgumentTypeError(f"{text!r} is no whole number above 0")
    return int(text)


def main(argv: list[str] | None = None) -> int:
    """Run the program; its exit code."""
    parser = argparse.ArgumentParser(prog="swift-form-signature", description=__doc__,
                                     formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("path", help="/v1/account/container, and what object names begin with")
    parser.add_argument("redirect", help="where the browser goes afterwards, or nothing")
    parser.add_argument("max_file_size", type=positive, help="bytes")
    parser.add_argument("max_file_count", type=positive)
    parser.add_argument("seconds", type=positive, help="how long the form is good for")
    parser.add_argument("key")
    parser.add_argument("--digest", choices=("sha1", "sha256", "sha512"), default="sha256")
    args = parser.parse_args(argv)
    words = args.path.split("/", 4)
    if len(words) < 4 or words[0] or not words[1].startswith("v1") or not all(words[2:4]):
        parser.error("PATH must be /v1/account/container[/prefix]")
    expires = int(time.time() + args.seconds)
    signature = sign_form(args.path, args.redirect, args.max_file_size, args.max_file_count,
                          expires, args.key, args.digest)
    print(f"Expires: {expires}\nSignature: {signature}\n")
    print(FORM.format(
        path=html.escape(args.path), redirect=html.escape(args.redirect),
        size=args.max_file_size, count=args.max_file_count, expires=expires,
        signature=html.escape(signature), files="\n".join(
            f'  <input type="file" name="file{n + 1}" />' for n in range(args.max_file_count))))
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
