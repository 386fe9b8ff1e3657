# SPDX-License-Identifier: Apache-2.0
"""Errors in S3's words: a code, a status, a sentence, and facts that belong to the code.

Codes and statuses are those of "Error responses" in the Amazon S3 API reference.
"""

from swift.common.request import Response

# code: (status, sentence)
CODES = {
    'AccessDenied': (403, 'Access Denied.'),
    'AuthorizationHeaderMalformed': (400, 'The authorization header is malformed.'),
    'AuthorizationQueryParametersError': (400, 'The authorization query parameters are wrong.'),
    'BadDigest': (400, 'The Content-MD5 you specified did not match what we received.'),
    'BucketAlreadyExists': (409, 'The requested bucket name is not available. The bucket '
                            'namespace is shared by all users of the system. Please select a '
                            'different name and try again.'),
    'BucketAlreadyOwnedByYou': (409, 'Your previous request to create the named bucket succeeded '
                                'and you already own it.'),
    'BucketNotEmpty': (409, 'The bucket you tried to delete is not empty'),
    'EntityTooLarge': (400, 'Your proposed upload exceeds the maximum allowed object size.'),
    'EntityTooSmall': (400, 'Your proposed upload is smaller than the minimum allowed object '
                       'size.'),
    'IllegalVersioningConfigurationException': (400, 'The versioning configuration specified in '
                                                'the request is invalid.'),
    'IncompleteBody': (400, 'The request body terminated unexpectedly'),
    'InvalidArgument': (400, 'Invalid Argument.'),
    'InvalidBucketName': (400, 'The specified bucket is not valid.'),
    'InvalidChunkSizeError': (403, 'Only the last chunk is allowed to have a size less than 8192 '
                              'bytes'),
    'InvalidDigest': (400, 'The Content-MD5 you specified was invalid.'),
    'InvalidLocationConstraint': (400, 'The specified location constraint is not valid.'),
    'InvalidPart': (400, 'One or more of the specified parts could not be found.  The part may '
                    "not have been uploaded, or the specified entity tag may not match the part's "
                    'entity tag.'),
    'InvalidPartNumber': (416, 'The requested partnumber is not satisfiable'),
    'InvalidPartOrder': (400, 'The list of parts was not in ascending order. Parts must be '
                         'ordered by part number.'),
    'InvalidRange': (416, 'The requested range is not satisfiable'),
    'InvalidRequest': (400, 'Invalid Request.'),
    'InvalidStorageClass': (400, 'The storage class you specified is not valid.'),
    'InvalidURI': (400, "Couldn't parse the specified URI."),
    'KeyTooLongError': (400, 'Your key is too long.'),
    'MalformedACLError': (400, 'The XML you provided was not well-formed or did not validate '
                          'against our published schema.'),
    'MalformedTrailerError': (400, 'The request contained trailing data that was not well-formed '
                              'or did not conform to our published schema.'),
    'MalformedXML': (400, 'The XML you provided was not well-formed or did not validate against '
                     'our published schema'),
    'MetadataTooLarge': (400, 'Your metadata headers exceed the maximum allowed metadata size.'),
    'MethodNotAllowed': (405, 'The specified method is not allowed against this resource.'),
    'MissingContentLength': (411, 'You must provide the Content-Length HTTP header.'),
    'MissingRequestBodyError': (400, 'Request body is empty.'),
    'MissingSecurityHeader': (400, 'The request lacks a header it needs.'),
    'NoSuchBucket': (404, 'The specified bucket does not exist.'),
    'NoSuchBucketPolicy': (404, 'The bucket policy does not exist'),
    'NoSuchCORSConfiguration': (404, 'The CORS configuration does not exist'),
    'NoSuchKey': (404, 'The specified key does not exist.'),
    'NoSuchLifecycleConfiguration': (404, 'The lifecycle configuration does not exist.'),
    'NoSuchObjectLockConfiguration': (404, 'The specified object does not have an ObjectLock '
                                      'configuration'),
    'NoSuchPublicAccessBlockConfiguration': (404, 'The public access block configuration was not '
                                             'found'),
    'NoSuchTagSet': (404, 'There is no tag set associated with the bucket.'),
    'NoSuchUpload': (404, 'The specified multipart upload does not exist. The upload ID might be '
                     'invalid, or the multipart upload might have been aborted or completed.'),
    'NoSuchVersion': (404, 'The specified version does not exist.'),
    'NoSuchWebsiteConfiguration': (404, 'The specified bucket does not have a website '
                                   'configuration'),
    'NotImplemented': (501, 'The requested resource is not implemented'),
    'ObjectLockConfigurationNotFoundError': (404, 'Object Lock configuration does not exist for '
                                             'this bucket'),
    'OperationAborted': (409, 'A conflicting conditional operation is currently in progress '
                         'against this resource. Try again.'),
    'OwnershipControlsNotFoundError': (404, 'The bucket ownership controls were not found'),
    'PreconditionFailed': (412, 'At least one of the preconditions you specified did not hold.'),
    'ReplicationConfigurationNotFoundError': (404, 'The replication configuration was not found'),
    'RequestTimeout': (400, 'Your socket connection to the server was not read from or written to '
                       'within the timeout period.'),
    'RequestTimeTooSkewed': (403, 'The difference between the request time and the current time '
                             'is too large.'),
    'ServerSideEncryptionConfigurationNotFoundError': (404, 'The server side encryption '
                                                       'configuration was not found'),
    'ServiceUnavailable': (503, 'Please reduce your request rate.'),
    'SignatureDoesNotMatch': (403, 'The request signature we calculated does not match the '
                              'signature you provided. Check your key and signing method.'),
    'SlowDown': (503, 'Please reduce your request rate.'),
    'UnexpectedContent': (400, 'This request does not support content.'),
    'UserKeyMustBeSpecified': (400, 'The bucket POST must contain the specified field name. If it '
                               'is specified, please check the order of the fields.'),
    'XAmzContentSHA256Mismatch': (400, "The provided 'x-amz-content-sha256' header does not match "
                                  'what was computed.'),
}


class S3Error(Exception):
    """An answer that is an error; ``facts`` become elements beside Code and Message."""

    def __init__(self, code, message=None, headers=(), **facts):
        super().__init__(code)
        self.code = code
        self.status, sentence = CODES[code]
        self.message = message if message is not None else sentence
        self.headers = list(headers)
        self.facts = facts

    def response(self, trans_id, head=False):
        """The Response; a HEAD gets no body."""
        from swift.common.middleware.s3api.xmlio import document, element
        headers = [*self.headers, ('Content-Type', 'application/xml')]
        if head:
            headers.append(('Content-Length', '0'))
            return Response(self.status, headers, b'')
        root = self.element(element, trans_id)
        return Response(self.status, headers, document(root))

    def element(self, element, trans_id):
        """The <Error> element."""
        facts = [element(name, str(value)) for name, value in self.facts.items()]
        return element('Error', element('Code', self.code), element('Message', self.message),
                       *facts, element('RequestId', trans_id))


def not_implemented(what):
    """The refusal of what this service does not do, by name."""
    return S3Error('NotImplemented', 'A header you provided implies functionality that is not '
                   f'implemented: {what}', Header=what)


def invalid(name, value, message=None):
    """An argument that cannot be."""
    return S3Error('InvalidArgument', message, ArgumentName=name, ArgumentValue=value)
