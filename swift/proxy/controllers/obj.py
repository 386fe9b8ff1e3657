# SPDX-License-Identifier: Apache-2.0
"""Objects: reading, writing, deleting, changing metadata."""

import mimetypes
import random
import time
from urllib.parse import quote

from swift.common import ec
from swift.common.exceptions import ChunkReadError
from swift.common.expiry import queue_container
from swift.common.request import Abort, Response, answer, http_date
from swift.common.reserved import is_reserved
from swift.proxy.backend import backend_path, choose, header_name, respond
from swift.proxy.controllers.base import Controller, spread
from swift.proxy.ec_put import EcUpload
from swift.proxy.footers import CALLBACK, HashedUpload, MimeUpload, footers_of
from swift.proxy.put import INLINE, Upload, small_put
from swift.proxy.shards import SHARDED, updating_shard

# Client headers that go to the object servers with a write. What names servers to be told about
# the change (X-Container-Host and its like) is ours to say: no client header of that kind passes.
STORED = frozenset(('HTTP_CONTENT_ENCODING', 'HTTP_CONTENT_DISPOSITION', 'HTTP_CONTENT_LANGUAGE',
                    'HTTP_CACHE_CONTROL', 'HTTP_EXPIRES', 'HTTP_X_ROBOTS_TAG',
                    'HTTP_X_OBJECT_MANIFEST', 'HTTP_X_STATIC_LARGE_OBJECT', 'HTTP_X_DELETE_AT',
                    'HTTP_X_IF_DELETE_AT'))
STORED_PREFIXES = ('HTTP_X_OBJECT_META_', 'HTTP_X_OBJECT_SYSMETA_',
                   'HTTP_X_OBJECT_TRANSIENT_SYSMETA_', 'HTTP_X_BACKEND_')
READ = frozenset(('HTTP_RANGE', 'HTTP_IF_MATCH', 'HTTP_IF_NONE_MATCH', 'HTTP_IF_MODIFIED_SINCE',
                  'HTTP_IF_UNMODIFIED_SINCE', 'HTTP_IF_RANGE'))
MAX_TIME = 9_999_999_999      # the latest point in time a header can name
TRUE = ('true', '1', 'yes', 'on', 't', 'y')


class ObjectController(Controller):
    """``/v1/<account>/<container>/<object>``"""

    kind = 'Object'
    delay_denial = ('GET', 'HEAD', 'PUT', 'POST', 'DELETE', 'OPTIONS')

    def __init__(self, app, req, account, container, obj):
        super().__init__(app, req, account)
        self.container, self.obj = container, obj

    def _container(self):
        return self.app.info_cache.container(self.req, self.account, self.container)

    def _place(self, info):
        """``(policy index, ring, partition, nodes)`` of the object."""
        index = self.req.environ.get('HTTP_X_BACKEND_STORAGE_POLICY_INDEX',
                                     info['storage_policy'])
        ring = self.app.object_ring(int(index))
        part, nodes = ring.get_nodes(self.account, self.container, self.obj)
        return index, ring, part, nodes

    _update_place = _place            # the same for changing what is there

    # -- reading -------------------------------------------------------------
    def GET(self):
        """The object, or the parts of it and on the conditions the headers say."""
        app, req = self.app, self.req
        env = req.environ
        info = self._container()
        req.acl = info['read_acl']
        authorize = env.get('swift.authorize')
        if authorize is not None:
            denied = authorize(req)
            if denied is not None:
                return denied
        index, ring, part, nodes = self._place(info)
        lines = (f"{app.agent}X-Trans-Id: {env['swift.trans_id']}\r\n"
                 f'X-Backend-Storage-Policy-Index: {index}\r\n')
        for key, value in env.items():
            if key[:5] == 'HTTP_' and (key in READ or key[:15] == 'HTTP_X_BACKEND_' and
                                       key != 'HTTP_X_BACKEND_STORAGE_POLICY_INDEX'):
                if key == 'HTTP_RANGE':      # some put blanks into it
                    value = value.replace(' ', '').replace('\t', '').lower()
                lines += f'{header_name(key)}: {value}\r\n'
        if app.allow_open_expired and env.get('HTTP_X_OPEN_EXPIRED', '').lower() in TRUE:
            lines += 'X-Backend-Open-Expired: true\r\n'
        newest = env.get('HTTP_X_NEWEST', '').lower() in TRUE
        coding = app.coding(index)
        if coding is not None:
            response = self._read_coded(coding, ring, part, nodes, lines, newest)
        else:
            response = app.getter(
                app, req.method, 'Object', app.node_iter(ring, part, nodes, shuffle=True),
                len(nodes), part, backend_path(self.account, self.container, self.obj), lines,
                newest=newest, resume=True).response()
        if response.status in (200, 206, 304, 412, 416):
            response.headers.append(('Accept-Ranges', 'bytes'))
        return response

    HEAD = GET

    def _read_coded(self, coding, ring, part, nodes, lines, newest):
        """The response of an erasure coded object."""
        kept = [line for line in lines.split('\r\n') if line and not line.lower().startswith(
            ('range:', 'x-backend-etag-is-at:'))]
        known = self.req.environ.get('HTTP_X_BACKEND_ETAG_IS_AT')
        kept.append(f'X-Backend-Etag-Is-At: {known},{ec.ETAG}' if known
                    else f'X-Backend-Etag-Is-At: {ec.ETAG}')
        spec = self.req.environ.get('HTTP_RANGE')

        def in_order():
            """Those first whose fragments are the data itself."""
            mixed = random.sample(nodes, len(nodes))
            mixed.sort(key=lambda node: coding.index_of(node['index']) >= coding.data)
            return self.app.fragment_iter(ring, part, mixed)

        return self.app.ec_getter(self.app, coding, self.req.method, in_order, part,
                                  backend_path(self.account, self.container, self.obj),
                                  ''.join(line + '\r\n' for line in kept),
                                  spec and ''.join(spec.split()).lower(), newest).response()

    # -- writing -------------------------------------------------------------
    def _write_target(self):
        """The container's entry, once the request is found authorized and the container there."""
        info = self._container()
        req = self.req
        req.acl = info['write_acl']
        req.environ['swift_sync_key'] = info['sync_key']
        denied = self.authorize(info['write_acl'])
        if denied is not None:
            raise Abort(denied)
        if info['status'] // 100 != 2:
            raise Abort(answer(503 if info['status'] >= 500 else 404))
        return info

    def _expiry(self):
        """Check and normalise X-Delete-At and X-Delete-After."""
        env = self.req.environ
        env.pop('HTTP_X_DELETE_AT_HOST', None)
        after, at = env.pop('HTTP_X_DELETE_AFTER', None), env.get('HTTP_X_DELETE_AT')
        if env.get('HTTP_X_REMOVE_DELETE_AT') or env.get('HTTP_X_REMOVE_DELETE_AFTER'):
            env.pop('HTTP_X_DELETE_AT', None)
            return
        now = time.time()
        if after is not None:
            try:
                at = str(int(now) + int(after.strip()))
            except ValueError:
                raise Abort(answer(400, 'Non-integer X-Delete-After')) from None
            if int(after) < 0:
                raise Abort(answer(400, 'X-Delete-After in past'))
        if at is None:
            return
        try:
            when = min(int(at.strip()), MAX_TIME)
        except ValueError:
            raise Abort(answer(400, 'Non-integer X-Delete-At')) from None
        if when <= now and self.req.get('X-Backend-Replication', '').lower() not in TRUE:
            raise Abort(answer(400, 'X-Delete-At in past'))
        env['HTTP_X_DELETE_AT'] = f'{when:010d}'

    def _expiry_lines(self, slots):
        """Headers that make the object servers book the object for removal, for each replica."""
        at = self.req.environ.get('HTTP_X_DELETE_AT')
        if at is None:
            return None
        app = self.app
        container = queue_container(int(at), app.expiring_divisor, self.account, self.container,
                                    self.obj)
        part, nodes = app.container_ring.get_nodes(app.expiring_account, container)
        return [f'X-Delete-At-Container: {container}\r\n' + line
                for line in spread('Delete-At', part, nodes, slots)]

    def _headers(self, info, index, timestamp, nodes):
        """``(lines for all, lines for each replica)`` of a write."""
        lines = self.app.backend_headers(self.req, timestamp) \
            + f'X-Backend-Storage-Policy-Index: {index}\r\n'
        power = self.app.object_ring(int(index)).next_part_power
        if power:
            lines += f'X-Backend-Next-Part-Power: {power}\r\n'
        for key, value in self.req.environ.items():
            if key[:5] == 'HTTP_' and (key in STORED or key.startswith(STORED_PREFIXES)) and \
                    key != 'HTTP_X_BACKEND_STORAGE_POLICY_INDEX':
                lines += f'{header_name(key)}: {value}\r\n'
        more, account, container = self._row_holder(info)
        lines += more
        own = self.update_lines('Container', self.app.container_ring, account, container,
                                len(nodes))
        expiry = self._expiry_lines(len(nodes))
        if expiry:
            own = [a + b for a, b in zip(own, expiry, strict=True)]
        return lines, own

    def _row_holder(self, info):
        """``(header lines, account, container)`` of the container that takes the object's row:
        a shard, if there are any."""
        state = info.get('sharding_state', 'unsharded')
        if state not in SHARDED:
            return '', self.account, self.container
        lines = f'X-Container-Root-Db-State: {state}\r\n'
        shard = updating_shard(self.app, self.req, self.account, self.container, self.obj)
        if shard is None:
            return lines, self.account, self.container
        lines += f"X-Backend-Quoted-Container-Path: {quote(shard.name)}\r\n"
        return lines, shard.account, shard.container

    def PUT(self):
        """Store an object; 201 once a majority of the replicas has it on disk."""
        app, req = self.app, self.req
        env = req.environ
        bad = self._if_none_match()
        if not is_reserved(self.obj):          # of those the client's part was checked
            bad = app.constraints.check_name('object', self.obj) or bad
        if bad is not None:
            return bad
        info = self._write_target()
        length = req.content_length
        bad = self._body_fits(length) or app.constraints.check_metadata(req, 'object')
        if bad is not None:
            return bad
        self._expiry()
        content_type = self._content_type()
        timestamp = app.new_timestamp(req)
        index, ring, part, nodes = self._place(info)
        coding = app.coding(index)
        body, source = self._first_bytes(length)
        if source is None and coding is None and CALLBACK in env:
            for name, value in footers_of(env).items():
                req.set(name, value)
        lines, own = self._headers(info, index, timestamp, nodes)
        lines += f'Content-Type: {content_type}\r\n'
        if env.get('HTTP_ETAG') and coding is None:
            lines += f"ETag: {env['HTTP_ETAG'].strip(chr(34))}\r\n"
        if env.get('HTTP_IF_NONE_MATCH'):
            lines += 'If-None-Match: *\r\n'
        target = self, ring, part, nodes, lines, own, body
        if coding is not None:
            if source is None:
                source, length = env['wsgi.input'], len(body)
            upload = EcUpload(coding, *target, source, length)
            return self._stored(upload.run(), len(nodes), timestamp, upload)
        if source is None:
            return self._stored(small_put(*target), len(nodes), timestamp)
        kind = MimeUpload if CALLBACK in env else HashedUpload if len(nodes) > 1 else Upload
        return self._stored(kind(*target, source, length).run(), len(nodes), timestamp)

    def _if_none_match(self):
        value = self.req.environ.get('HTTP_IF_NONE_MATCH')
        if value is not None and value.strip() != '*':
            return answer(400, 'If-None-Match only supports *')
        return None

    def _body_fits(self, length):
        if length is None and not self.req.chunked:
            return answer(411, 'Missing Content-Length header.')
        if length is not None and length > self.app.constraints.max_file_size:
            return answer(413, 'Your request is too large.')
        if length and self.req.environ.get('HTTP_X_COPY_FROM'):
            return answer(400, 'Copy requests require a zero byte body')
        return None

    def _content_type(self):
        """The type to store: the client's, or a guess from the name."""
        env = self.req.environ
        value = env.get('CONTENT_TYPE')
        if not value or env.get('HTTP_X_DETECT_CONTENT_TYPE', '').lower() in TRUE:
            guess = mimetypes.guess_type(self.obj)[0]
            return guess or 'application/octet-stream'
        if not value.isascii():
            try:
                value.encode('latin-1').decode('utf-8')
            except UnicodeError:
                raise Abort(answer(400, 'Content-Type is not valid UTF-8')) from None
        # Parameters of ours are for filters to set, never for clients.
        if 'swift_' in value and 'swift.own_content_type' not in env:
            kept = [p for p in value.split(';') if not p.strip().startswith('swift_')]
            if self.req.method == 'PUT' and len(kept) < value.count(';') + 1:
                raise Abort(answer(400, 'Invalid Content-Type, swift_* is not a valid parameter '
                                   'name.'))
            value = ';'.join(kept)
        return value

    def _may_not_be_wanted(self, source):
        """Whether the client waits to hear that its body is, and the servers may say it is not."""
        return 'HTTP_IF_NONE_MATCH' in self.req.environ and \
            getattr(source, 'waiting_for_continue', False)

    def _first_bytes(self, length):
        """``(bytes, source of the rest)``; no source when the bytes are all of the body."""
        source = self.req.environ['wsgi.input']
        try:
            if length is not None:
                if length <= INLINE and not self._may_not_be_wanted(source):
                    body = source.read(length) if length else b''
                    if len(body) != length:
                        raise ChunkReadError('the body is shorter than its Content-Length')
                    return body, None
                return b'', source
            first = source.read(INLINE)
            return (first, None) if len(first) < INLINE else (first, source)
        except OSError as e:
            raise ChunkReadError(str(e)) from e

    def _stored(self, answers, count, timestamp, coded=None):
        """The client's response to a PUT; ``coded`` is the EcUpload, if it was one."""
        statuses = [a.status for a in answers]
        if self.req.environ.get('HTTP_IF_NONE_MATCH') and 412 in statuses:
            return answer(412)
        best = choose(answers, count, quorum=coded.quorum if coded is not None else None)
        if best is not None and best.status // 100 == 2:
            etags = {a.etag for a in answers if a.status // 100 == 2 and a.etag} \
                if coded is None else {coded.etag}
            if len(etags) > 1:
                self.app.logger.error('Object servers returned %s mismatched etags', len(etags))
                return answer(500)
            headers = [('Content-Type', 'text/html; charset=UTF-8'),
                       ('Last-Modified', http_date(timestamp.ceil()))]
            if etags:
                headers.append(('Etag', etags.pop()))
            return Response(201, headers)
        if 409 in statuses:
            return answer(202)         # something newer is there already, or will be
        return respond(best)

    def POST(self):
        """Replace the object's metadata."""
        app = self.app
        info = self._write_target()
        bad = app.constraints.check_metadata(self.req, 'object')
        if bad is not None:
            return bad
        self._expiry()
        index, ring, part, nodes = self._update_place(info)
        lines, own = self._headers(info, index, app.new_timestamp(self.req), nodes)
        if self.req.environ.get('CONTENT_TYPE'):
            lines += f'Content-Type: {self._content_type()}\r\n'
        if app.allow_open_expired and self.req.get('X-Open-Expired', '').lower() in TRUE:
            lines += 'X-Backend-Open-Expired: true\r\n'
        answers = self.fan_out('POST', ring, part, nodes,
                               backend_path(self.account, self.container, self.obj), lines, own)
        best = choose(answers, len(nodes))
        response = respond(best)
        if best is not None and best.status < 300:
            # A filter may have to know what kind of object this was.
            response.headers += [h for h in best.items
                                 if h[0][:17].lower() == 'x-object-sysmeta-']
        return response

    def DELETE(self):
        """Delete the object; 404 when a majority did not have it."""
        info = self._write_target()
        self.req.environ.pop('HTTP_X_DELETE_AT', None)
        index, ring, part, nodes = self._update_place(info)
        lines, own = self._headers(info, index, self.app.new_timestamp(self.req), nodes)
        answers = self.fan_out('DELETE', ring, part, nodes,
                               backend_path(self.account, self.container, self.obj), lines, own)
        # A replica that had nothing to delete is as good as one that deleted.
        return respond(choose(answers, len(nodes), {404: 204}))

    def for_origin(self, response):
        """As the container's list of origins says."""
        return self.with_cors(response, self._container())

    def OPTIONS(self):
        """What may be done here, and what scripts of other origins may do."""
        return self.options(self._container())


ObjectController.methods = {
    'GET': ObjectController.GET, 'HEAD': ObjectController.HEAD, 'PUT': ObjectController.PUT,
    'POST': ObjectController.POST, 'DELETE': ObjectController.DELETE,
    'OPTIONS': ObjectController.OPTIONS}


