# SPDX-License-Identifier: Apache-2.0
"""The filter: takes what carries a signature of Amazon's, lets everything else pass.

It stands directly above the auth filters, asks them whose a signature is (``identify_signer``),
and sends its own requests to what is below them, with what they would have put into the environ.
"""

from swift.common.conf import config_int, config_list, config_true
from swift.common.constraints import Constraints
from swift.common.exceptions import ChunkReadError, ChunkReadTimeout, ConfigError
from swift.common.log import get_logger
from swift.common.middleware.authbase import JudgeUnavailable, WrongSignature
from swift.common.middleware.proxy_logging import STORE_PATH
from swift.common.middleware.s3api.acl import Ownerless
from swift.common.middleware.s3api.call import Call
from swift.common.middleware.s3api.errors import S3Error
from swift.common.middleware.s3api.preflight import is_preflight, preflight, read_origins
from swift.common.middleware.s3api.request import S3Request
from swift.common.middleware.s3api.router import route
from swift.common.middleware.s3api.signature import MAX_SKEW, is_signed, read_signature
from swift.common.statsd import Statsd
from swift.proxy.controllers.info import register, registered


class Settings:
    """The filter's options, and the limits of the store.

    location, s3_acl, allow_no_owner, check_bucket_owner, dns_compliant_bucket_names,
    storage_domain, max_bucket_listing,
    max_multi_delete_objects, multi_delete_concurrency, allow_multipart_uploads,
    max_upload_part_num, max_parts_listing, min_segment_size, max_acl_size, allowable_clock_skew,
    ratelimit_as_client_error, force_swift_request_proxy_log, cors_preflight_allow_origin.
    """

    def __init__(self, conf, logger):
        self.logger = logger
        self.location = conf.get('location', 'us-east-1')
        self.s3_acl = config_true(conf.get('s3_acl', 'no'))
        # Of what has no owner; None: the store's own rights hold.
        self.ownerless = Ownerless(config_true(conf['allow_no_owner'])) \
            if 'allow_no_owner' in conf else None
        self.only_own = self.s3_acl and config_true(conf.get('check_bucket_owner', 'no'))
        self.log_twice = config_true(conf.get('force_swift_request_proxy_log', 'no'))
        self.dns_compliant = config_true(conf.get('dns_compliant_bucket_names', 'yes'))
        self.domains = [d.lstrip('.').lower()
                        for d in config_list(conf.get('storage_domain', ''))]
        self.max_bucket_listing = config_int(conf, 'max_bucket_listing', 1000, 1)
        self.max_multi_delete_objects = config_int(conf, 'max_multi_delete_objects', 1000, 1)
        self.multi_delete_concurrency = config_int(conf, 'multi_delete_concurrency', 2, 1)
        self.multipart = config_true(conf.get('allow_multipart_uploads', 'yes')) and \
            registered('slo')
        self.max_upload_part_num = config_int(conf, 'max_upload_part_num', 1000, 1)
        self.max_parts_listing = config_int(conf, 'max_parts_listing', 1000, 1)
        self.min_segment_size = config_int(conf, 'min_segment_size', 5 << 20, 1)
        self.max_acl_size = config_int(conf, 'max_acl_size', 65536, 1)
        self.clock_skew = config_int(conf, 'allowable_clock_skew', MAX_SKEW)
        self.too_fast = 429 if config_true(conf.get('ratelimit_as_client_error', 'no')) else 503
        self.preflight_origins = read_origins(conf)
        limits = Constraints.load()
        self.max_key = limits.max_object_name_length
        self.max_file_size = limits.max_file_size

    @staticmethod
    def versioning():
        """Whether the store keeps versions."""
        return registered('object_versioning')


class S3Api:
    """Filter; for its options see `Settings`."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 's3api'))
        self.settings = Settings(conf, self.logger)
        self.statsd = Statsd.of(conf, 's3api')
        self.judges, self.below = _auth_filters(app)
        settings = self.settings
        register('s3api', max_bucket_listing=settings.max_bucket_listing,
                 max_parts_listing=settings.max_parts_listing,
                 max_upload_part_num=settings.max_upload_part_num,
                 max_multi_delete_objects=settings.max_multi_delete_objects,
                 allow_multipart_uploads=settings.multipart, s3_acl=settings.s3_acl,
                 min_segment_size=settings.min_segment_size)

    def __call__(self, env, start_response):
        if self.settings.preflight_origins and is_preflight(env):
            return preflight(env, self.settings.preflight_origins)(env, start_response)
        if not is_signed(env):
            return self.app(env, start_response)
        trans_id = env.get('swift.trans_id', '-')
        try:
            response = self.answer(env)
        except S3Error as e:
            if e.code == 'SlowDown':
                e.status = self.settings.too_fast
            if self.statsd is not None:
                self.statsd.count(f'{e.status}.{e.code}', 1)
            response = e.response(trans_id, env['REQUEST_METHOD'] == 'HEAD')
        except ChunkReadTimeout:
            response = S3Error('RequestTimeout', headers=[('Connection', 'close')]).response(
                trans_id)
        except ChunkReadError:
            response = S3Error('IncompleteBody', headers=[('Connection', 'close')]).response(
                trans_id)
        response.headers += [('x-amz-id-2', trans_id), ('x-amz-request-id', trans_id)]
        return response(env, start_response)

    def answer(self, env):
        """The Response to a signed request; raises S3Error."""
        req = S3Request(env, self.settings.domains, self.settings.dns_compliant)
        req.signature = read_signature(req, self.settings.location,
                                       skew=self.settings.clock_skew)
        req.identity = self.identify(req.signature)
        if self.settings.log_twice:
            env['swift.log_twice'] = True
        env['swift.s3_access_key'] = req.signature.access_key
        env.setdefault('swift.infocache', {})        # the log line has the policy from it
        env[STORE_PATH] = ['v1', req.identity.account, req.bucket or None, req.key or None]
        req.check_names(self.settings.max_key)
        found = route(req)
        if req.subresource in ('uploads', 'uploadId') and not self.settings.multipart:
            raise S3Error('NotImplemented', 'Multipart uploads are not offered here')
        call = Call(self, req)
        if found.need is not None:
            call.allow_bucket(found.need or None)
        return found.function(call)

    def identify(self, signature):
        """The Signed of a signature; an unknown key and a wrong secret are answered alike."""
        for judge in self.judges:
            try:
                signed = judge.identify_signer(signature)
            except WrongSignature:
                raise signature.mismatch() from None
            except JudgeUnavailable:
                raise S3Error('ServiceUnavailable', 'The identity service cannot be used now.'
                              ) from None
            if signed is not None:
                return signed
        raise signature.mismatch()


def _auth_filters(app):
    """``(filters that know signers, the app below all auth filters)``; ConfigError without any.

    Only auth filters may stand between: others would not see S3's requests.
    """
    chain, at = [], app
    while at is not None:
        chain.append(at)
        at = getattr(at, 'app', None) or getattr(at, '_app', None)
    last = max((i for i, f in enumerate(chain) if hasattr(f, 'authorize')), default=None)
    judges = [f for f in chain if hasattr(f, 'identify_signer')]
    if last is None or not judges:
        raise ConfigError('pipeline: s3api needs tempauth, or s3token and keystoneauth, after it')
    for between in chain[:last]:
        if not (hasattr(between, 'authorize') or hasattr(between, 'identify_signer')
                or type(between).__module__.startswith('keystonemiddleware.')):
            raise ConfigError(f'pipeline: {type(between).__name__} must not stand between s3api '
                              'and the auth filters')
    return judges, chain[last + 1]
