# SPDX-License-Identifier: Apache-2.0
"""The container auditor."""
from swift.common.db_auditor import DbAuditor
from swift.container.backend import DATADIR, ContainerBroker


class ContainerAuditor(DbAuditor):
    """Checks the databases of containers and quarantines broken ones."""

    section = "container-auditor"
    broker_class = ContainerBroker
    datadir = DATADIR
    kind = "container"
