# SPDX-License-Identifier: Apache-2.0
"""Access control lists of S3: an owner and grants, from headers and XML, kept as metadata.

The stored form is OpenStack Swift's: ``{"Owner": id, "Grant": [{"Permission", "Grantee"}]}`` in
the system metadata S3api-Acl, where a grantee is a user's id or the last part of a group's URI.
"""

import json
import re

from swift.common.middleware.s3api.errors import S3Error, invalid
from swift.common.middleware.s3api.xmlio import XSI, element, parse, text

CONTAINER_SYSMETA = 'X-Container-Sysmeta-S3api-Acl'
OBJECT_SYSMETA = 'X-Object-Sysmeta-S3api-Acl'
UPLOAD_SYSMETA = 'X-Object-Sysmeta-S3api-Tmpacl'
PERMISSIONS = ('FULL_CONTROL', 'READ', 'WRITE', 'READ_ACP', 'WRITE_ACP')
EVERYBODY, SIGNERS, LOGGERS = 'AllUsers', 'AuthenticatedUsers', 'LogDelivery'
GROUPS = {
    EVERYBODY: 'http://acs.amazonaws.com/groups/global/AllUsers',
    SIGNERS: 'http://acs.amazonaws.com/groups/global/AuthenticatedUsers',
    LOGGERS: 'http://acs.amazonaws.com/groups/s3/LogDelivery',
}
_BY_URI = {uri: name for name, uri in GROUPS.items()}
# name: the grants besides the owner's
CANNED = {
    'private': (),
    'public-read': (('READ', EVERYBODY),),
    'public-read-write': (('READ', EVERYBODY), ('WRITE', EVERYBODY)),
    'authenticated-read': (('READ', SIGNERS),),
    'bucket-owner-read': (('READ', None),),                 # None: the bucket's owner
    'bucket-owner-full-control': (('FULL_CONTROL', None),),
    'log-delivery-write': (('WRITE', LOGGERS), ('READ_ACP', LOGGERS)),
}
GRANT_HEADERS = {
    'x-amz-grant-full-control': 'FULL_CONTROL', 'x-amz-grant-read': 'READ',
    'x-amz-grant-write': 'WRITE', 'x-amz-grant-read-acp': 'READ_ACP',
    'x-amz-grant-write-acp': 'WRITE_ACP',
}
MAX_GRANTS = 100
_GRANTEE = re.compile(r'\s*(id|uri|emailAddress)\s*=\s*"?([^",]*)"?\s*\Z')


class Acl:
    """Who may do what; ``grants`` are ``(permission, grantee)``."""

    def __init__(self, owner, grants):
        self.owner, self.grants = owner, list(grants)

    def allows(self, user, permission):
        """Whether ``user`` has a permission. The owner has them all, whatever the grants are."""
        if user == self.owner or permission == 'OWNER':
            return user == self.owner
        return any(given in (permission, 'FULL_CONTROL') and to in (user, EVERYBODY, SIGNERS)
                   for given, to in self.grants)

    def stored(self):
        """As system metadata."""
        return json.dumps({'Owner': self.owner, 'Grant': [
            {'Permission': p, 'Grantee': g} for p, g in self.grants]}, separators=(',', ':'))

    def xml(self):
        """The AccessControlPolicy element."""
        grants = [element('Grant', _grantee_element(to), element('Permission', permission))
                  for permission, to in self.grants]
        return element('AccessControlPolicy', owner_element(self.owner),
                       element('AccessControlList', *grants))


class Ownerless(Acl):
    """Of what has no list, where everybody or nobody is to have it."""

    def __init__(self, allowed):
        super().__init__(None, [])
        self.allowed = allowed

    def allows(self, user, permission):
        return self.allowed


def owner_element(user, tag='Owner'):
    """<Owner>, or Initiator."""
    return element(tag, element('ID', user), element('DisplayName', user))


def _grantee_element(to):
    if to in GROUPS:
        made = element('Grantee', element('URI', GROUPS[to]))
        made.set(f'{{{XSI}}}type', 'Group')
    else:
        made = element('Grantee', element('ID', to), element('DisplayName', to))
        made.set(f'{{{XSI}}}type', 'CanonicalUser')
    return made


def load(stored):
    """The Acl of system metadata, None without; AccessDenied for what cannot be read."""
    if not stored:
        return None
    try:
        value = json.loads(stored)
        return Acl(value['Owner'], [(g['Permission'], g['Grantee']) for g in value['Grant']])
    except (ValueError, KeyError, TypeError):
        raise S3Error('AccessDenied') from None


def canned(name, owner, bucket_owner=None):
    """The Acl of a name of x-amz-acl."""
    if name not in CANNED:
        raise invalid('x-amz-acl', name)
    grants = [(p, bucket_owner if to is None else to) for p, to in CANNED[name]]
    grants = [(p, to) for p, to in grants if to is not None]
    if ('FULL_CONTROL', owner) not in grants:
        grants.append(('FULL_CONTROL', owner))
    return Acl(owner, grants)


def from_headers(headers, owner, bucket_owner=None):
    """The Acl that x-amz-acl or x-amz-grant-* ask for, None when they are not there."""
    grants = [(permission, grantee) for name, permission in GRANT_HEADERS.items()
              if name in headers for grantee in _grantees(name, headers[name])]
    if 'x-amz-acl' in headers:
        if grants:
            raise S3Error('InvalidRequest', 'Specifying both Canned ACLs and Header Grants is '
                          'not allowed')
        return canned(headers['x-amz-acl'], owner, bucket_owner)
    if len(grants) > MAX_GRANTS:
        raise S3Error('InvalidRequest', f'There are more than {MAX_GRANTS} grants')
    return Acl(owner, grants) if grants else None


def _grantees(name, value):
    for item in value.split(','):
        found = _GRANTEE.match(item)
        if not found or not found[2]:
            raise invalid(name, value, 'Argument format not recognized')
        kind, who = found.groups()
        if kind == 'emailAddress':
            raise S3Error('NotImplemented', 'Grantees are not known by email address')
        if kind == 'uri':
            if who not in _BY_URI:
                raise invalid('uri', who, 'Invalid group uri')
            who = _BY_URI[who]
        yield who


def from_xml(body):
    """The Acl of an AccessControlPolicy document."""
    root = parse(body, 'AccessControlPolicy', 'MalformedACLError', without_external=True)
    owner, grants = text(root.find('Owner'), 'ID') if root.find('Owner') is not None else '', []
    if not owner or root.find('AccessControlList') is None:
        raise S3Error('MalformedACLError')
    for grant in root.find('AccessControlList'):
        grantee = grant.find('Grantee')
        if grant.tag != 'Grant' or grantee is None:
            raise S3Error('MalformedACLError')
        grants.append((text(grant, 'Permission'), _read_grantee(grantee)))
    if len(grants) > MAX_GRANTS or any(p not in PERMISSIONS for p, _ in grants):
        raise S3Error('MalformedACLError')
    return Acl(owner, grants)


def _read_grantee(grantee):
    kind = grantee.get(f'{{{XSI}}}type', '')
    if kind == 'CanonicalUser' and text(grantee, 'ID'):
        return text(grantee, 'ID')
    if kind == 'Group':
        uri = text(grantee, 'URI')
        if uri not in _BY_URI:
            raise invalid('Group/URI', uri, 'Invalid group uri')
        return _BY_URI[uri]
    if kind == 'AmazonCustomerByEmail':
        raise S3Error('NotImplemented', 'Grantees are not known by email address')
    raise S3Error('MalformedACLError')
