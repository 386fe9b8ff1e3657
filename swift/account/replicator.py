# SPDX-License-Identifier: Apache-2.0
"""The account replicator."""
from swift.account.backend import DATADIR, AccountBroker
from swift.common.db_replicator import DbReplicator


class AccountReplicator(DbReplicator):
    """Brings all replicas of every account of this node into step."""

    section = "account-replicator"
    broker_class = AccountBroker
    datadir = DATADIR
    kind = "account"
    default_port = 6202
