# SPDX-License-Identifier: Apache-2.0
"""XML in and out: the only place of the S3 API that knows a parser.

What comes in is parsed without entities, network and document types: a document that declares a
type is refused, since no client of S3 needs one. Only in access lists, where OpenStack Swift reads
a reference to an external entity as nothing, it is taken out; what it refers to is never looked at.
"""

import re

from lxml import etree

from swift.common.middleware.s3api.errors import S3Error

NAMESPACE = 'http://s3.amazonaws.com/doc/2006-03-01/'
XSI = 'http://www.w3.org/2001/XMLSchema-instance'
DECLARATION = b"<?xml version='1.0' encoding='UTF-8'?>\n"
MAX_DEPTH = 16
# What XML 1.0 cannot hold, not even escaped.
_UNFIT = re.compile('[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]')


def element(tag, *content, **attributes):
    """An element; ``content`` is one text, or elements (None is left out)."""
    made = etree.Element(tag, attributes)
    for item in content:
        if isinstance(item, str):
            made.text = _UNFIT.sub('\ufffd', item)
        elif item is not None:
            made.append(item)
    return made


def document(root, namespace=False):
    """The bytes of a document."""
    if namespace:
        spaced = etree.Element(root.tag, nsmap={None: NAMESPACE})
        spaced.extend(root)
        spaced.text = root.text
        root = spaced
    return DECLARATION + etree.tostring(root, encoding='UTF-8')


def parse(body, root_tag, code='MalformedXML', without_external=False):
    """The root of a document, its tags without namespaces; S3Error for any other ``root_tag``.

    With ``without_external`` references to external entities are taken out instead of refused.
    """
    if not body:
        raise S3Error('MissingRequestBodyError')
    parser = etree.XMLParser(resolve_entities=False, no_network=True, load_dtd=False,
                             dtd_validation=False, huge_tree=False, remove_comments=True,
                             remove_pis=True, encoding=None)
    try:
        root = etree.fromstring(body, parser)
    except (etree.XMLSyntaxError, ValueError):
        raise S3Error(code) from None
    declared = root.getroottree().docinfo.internalDTD
    if declared is not None:
        if not (without_external and _only_external(declared, root)):
            raise S3Error(code)
        etree.strip_elements(root, etree.Entity, with_tail=False)
    _strip(root, 0, code)
    if root.tag != root_tag:
        raise S3Error(code)
    return root


def _only_external(declared, root):
    """Whether nothing but external entities is declared, each of which the document refers to.

    A parameter entity cannot be referred to there.
    """
    used = {node.name for node in root.iter(etree.Entity)}
    return declared.external_id is None and declared.system_url is None and \
        not any(declared.iterelements()) and all(
            entity.content is None and entity.name in used for entity in declared.iterentities())


def _strip(node, depth, code):
    if depth > MAX_DEPTH or not isinstance(node.tag, str):
        raise S3Error(code)
    node.tag = etree.QName(node).localname
    for child in node:
        _strip(child, depth + 1, code)


def text(node, tag, default=''):
    """The text of a child, ``default`` without one."""
    found = node.find(tag)
    if found is None:
        return default
    return found.text or ''
