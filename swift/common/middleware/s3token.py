# SPDX-License-Identifier: Apache-2.0
"""Keystone's word on S3 signatures: who signed, in which project, with which roles.

Keystone's s3tokens is asked with the service's own account. No token comes of it: what Keystone
says serves this one request, by the rights of the project and the roles it names. With
``secret_cache_duration`` the secret of a key that Keystone has vouched for is fetched and kept for
so many seconds, and signatures are checked here meanwhile: a right that is taken away works that
long. Without the secret, signatures of single chunks cannot be checked.
"""

import base64
import collections
import time
from typing import Any

from keystoneauth1 import exceptions, loading, session

from swift.common.conf import TRUE_VALUES, config_float, config_int
from swift.common.exceptions import ConfigError
from swift.common.log import get_logger
from swift.common.middleware.authbase import (
    JudgeUnavailable,
    Signed,
    WrongSignature,
    read_prefixes,
)
from swift.common.request import wsgi_text

FALSE_VALUES = frozenset(('false', '0', 'no', 'off', 'f', 'n', ''))
PLUGIN = 'password'
KEPT = 1024                    # keys remembered


def strict_bool(conf, name):
    """An option that weakens security: true or false, and nothing that only looks like one."""
    value = conf.get(name, 'false').strip().lower()
    if value in TRUE_VALUES:
        return True
    if value in FALSE_VALUES:
        return False
    raise ConfigError(f'{name} must be true or false, not {conf[name]!r}')


class S3Token:
    """Filter; options auth_uri (where Keystone is asked; auth_url without it), auth_url, auth_type
    and its plug-in's, cafile, insecure, certfile and keyfile (by which Keystone knows this client),
    http_timeout, secret_cache_duration, reseller_prefix."""

    def __init__(self, app, conf):
        self.app = app
        self.logger = get_logger(conf, conf.get('log_name', 's3token'))
        self.prefix = read_prefixes(conf)[0]
        self.keystoneauth = _keystoneauth(app)
        self.kept_for = config_int(conf, 'secret_cache_duration', 60)
        self.kept: collections.OrderedDict = collections.OrderedDict()
        url = (conf.get('auth_uri') or conf.get('auth_url', '')).rstrip('/')
        if not url:
            raise ConfigError('s3token: auth_url is missing')
        self.url = url if url.endswith('/v3') else url + '/v3'
        conf = {**conf, 'auth_url': conf.get('auth_url') or url}
        verify = False if strict_bool(conf, 'insecure') else conf.get('cafile') or True
        self.session = session.Session(_plugin(conf), verify=verify, cert=_certificate(conf),
                                       timeout=config_float(conf, 'http_timeout', 10, 0.1))

    def __call__(self, env, start_response):
        return self.app(env, start_response)

    def identify_signer(self, signature):
        """The Signed of a signature that Keystone knows; None for keys it does not."""
        until, signed = self.kept.get(signature.access_key, (0, None))
        if until > time.monotonic():
            if not signature.made_with(signed.secret):
                raise WrongSignature
            return signed
        token = self._ask(signature)
        if token is None:
            return None
        secret = self._secret(token['user']['id'], signature.access_key) if self.kept_for else None
        signed = self._signed(token, secret)
        if secret is not None:
            self.kept[signature.access_key] = (time.monotonic() + self.kept_for, signed)
            while len(self.kept) > KEPT:
                self.kept.popitem(last=False)
        return signed

    def _ask(self, signature):
        """Keystone's description of who signed, None when it was nobody it knows."""
        body = {'credentials': {
            'access': signature.access_key, 'signature': signature.signature,
            'token': base64.urlsafe_b64encode(signature.string_to_sign).decode()}}
        answer = self._call('POST', '/s3tokens', json=body)
        if answer.status_code in (400, 401, 404):
            return None
        if answer.status_code != 200:
            self.logger.error('Keystone answers %s to s3tokens: may the account of s3token ask?',
                              answer.status_code)
            raise JudgeUnavailable
        try:
            token = answer.json()['token']
            return token if token['project']['id'] and token['user']['id'] else None
        except (ValueError, KeyError, TypeError):
            return None               # a key without a project owns no account

    def _secret(self, user_id, access_key):
        answer = self._call('GET', f'/users/{user_id}/credentials/OS-EC2/{access_key}')
        if answer.status_code != 200:
            self.logger.warning('Keystone answers %s to who asks for a key: signatures are not '
                                'checked here', answer.status_code)
            return None
        return answer.json()['credential']['secret']

    def _call(self, method, path, **more):
        try:
            return self.session.request(self.url + path, method, raise_exc=False, redirect=False,
                                        authenticated=True, log=False, **more)
        except exceptions.ClientException as e:
            # The text of these may hold URLs and names of accounts.
            self.logger.error('Keystone cannot be asked about a signature: %s', type(e).__name__)
            raise JudgeUnavailable from None

    def _signed(self, token, secret):
        user, project = token['user'], token['project']
        said = {
            'HTTP_X_IDENTITY_STATUS': 'Confirmed', 'HTTP_X_USER_ID': user['id'],
            'HTTP_X_USER_NAME': user.get('name', ''), 'HTTP_X_PROJECT_ID': project['id'],
            'HTTP_X_PROJECT_NAME': project.get('name', ''),
            'HTTP_X_USER_DOMAIN_ID': user.get('domain', {}).get('id', ''),
            'HTTP_X_PROJECT_DOMAIN_ID': project.get('domain', {}).get('id', ''),
            'HTTP_X_ROLES': ','.join(r['name'] for r in token.get('roles', ()))}
        env = {name: wsgi_text(value) for name, value in said.items()}
        identity = self.keystoneauth.admit(env)
        # Names mean something in the default domain only.
        name = f'{identity.project_name}:{identity.user_name}' if identity.in_default_domain \
            else f'{identity.project_id}:{identity.user_id}'
        kept = {n: v for n, v in env.items() if not n.startswith('HTTP_')}
        return Signed(self.prefix + project['id'], name, secret, kept)


def _keystoneauth(app):
    """The keystoneauth filter below; ConfigError without one."""
    while app is not None:
        if hasattr(app, 'admit'):
            return app
        app = getattr(app, 'app', None) or getattr(app, '_app', None)
    raise ConfigError('pipeline: s3token needs keystoneauth after it')


def _certificate(conf):
    """Files by which a server may know this client, as keystoneauth1 wants them; None without."""
    certificate, key = conf.get('certfile'), conf.get('keyfile')
    if key and not certificate:
        raise ConfigError('s3token: there is a keyfile and no certfile')
    return (certificate, key) if key else certificate or None


def _plugin(conf):
    """keystoneauth1's plug-in for the service's own account."""
    loader: Any = loading.get_plugin_loader(conf.get('auth_type', PLUGIN))
    names = {o.dest: [n.replace('-', '_') for n in (o.name, *(d.name for d in o.deprecated))]
             for o in loader.get_options()}
    values = {dest: next((conf[n] for n in [dest, *known] if n in conf), None)
              for dest, known in names.items()}
    try:
        return loader.load_from_options(**{n: v for n, v in values.items() if v is not None})
    except exceptions.MissingRequiredOptions as e:
        raise ConfigError(f's3token: {e}') from None


def filter_factory(global_conf, **local_conf):
    """PasteDeploy's entry point."""
    conf = {**global_conf, **local_conf}
    return lambda app: S3Token(app, conf)
