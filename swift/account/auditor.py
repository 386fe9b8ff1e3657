# SPDX-License-Identifier: Apache-2.0
"""The account auditor."""
from swift.account.backend import DATADIR, AccountBroker
from swift.common.db_auditor import DbAuditor


class AccountAuditor(DbAuditor):
    """Checks the databases of accounts and quarantines broken ones."""

    section = "account-auditor"
    broker_class = AccountBroker
    datadir = DATADIR
    kind = "account"
