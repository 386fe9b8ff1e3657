# SPDX-License-Identifier: Apache-2.0
"""Call a WSGI application without a server: `call(app, "PUT", "/sda/1/a/c/o", headers, body)`."""
import io


class Body(io.BytesIO):
    """A wsgi.input with the server's `read1`."""

    def read1(self, size=65536):
        return self.read(size)


def environ(method, path, headers=None, body=b""):
    """The environ our server makes of such a request (text is "bytes as text")."""
    path, _, query = path.partition("?")
    env = {"REQUEST_METHOD": method, "PATH_INFO": path, "RAW_PATH_INFO": path, "SCRIPT_NAME": "",
           "QUERY_STRING": query, "SERVER_PROTOCOL": "HTTP/1.1", "REMOTE_ADDR": "127.0.0.1",
           "wsgi.input": Body(body), "CONTENT_LENGTH": str(len(body))}
    for name, value in (headers or {}).items():
        key = name.upper().replace("-", "_")
        env[key if key in ("CONTENT_TYPE", "CONTENT_LENGTH") else "HTTP_" + key] = value
    return env


def call(app, method, path, headers=None, body=b""):
    """(status code, headers by lower-case name, body)."""
    answer = []
    result = app(environ(method, path, headers, body),
                 lambda status, head, _exc=None: answer.extend((status, head)))
    try:
        data = b"".join(result)
    finally:
        close = getattr(result, "close", None)
        if close is not None:
            close()
    return int(answer[0][:3]), {name.lower(): value for name, value in answer[1]}, data
