"""Prepare Airflow's database: schema, roles, accounts, pool.

Each run creates what is missing, and updates the passwords. It keeps what a person has changed: the roles of an
account, the slots of the pool. It runs in the environment of Airflow (compose, `make airflow-local`). The passwords
come from this environment, never from a file of the repository. To rotate a password, change it there and run this
again.
"""

from __future__ import annotations

import os
import sys

from airflow.models.pool import Pool
from airflow.providers.fab.auth_manager.cli_commands.utils import get_application_builder
from airflow.utils.db import initdb
from airflow.utils.session import create_session
from werkzeug.security import check_password_hash

SERVICE_ROLE = "BackfillService"
SERVICE_PERMISSIONS = [
    ("can_read", "DAGs"),
    ("can_read", "DAG Runs"),
    ("can_create", "DAG Runs"),
    ("can_read", "Task Instances"),
    # runs and backfills need the right to edit their DAG: only this DAG
    ("can_edit", "DAG:pipeline_bronze"),
]
OPERATOR_ROLE = "Operator"
"""The permissions of Airflow's role User, who may run, clear and backfill, without the right to delete DAGs."""
_DELETE_DAGS = ("can_delete", "DAGs")
_MENU = ("can_read", "Plugins")
"""Without this permission, the menu lacks the pipeline's pages; of Airflow's own roles, only administrators have it."""
QUARANTINE_ROLE = "QuarantineReader"
QUARANTINE_PERMISSIONS = [("can_read", "Quarantine")]
ACCOUNTS = {
    "admin": (("Admin", QUARANTINE_ROLE), "AIRFLOW_ADMIN_PASSWORD"),
    "operator": ((OPERATOR_ROLE, QUARANTINE_ROLE), "AIRFLOW_OPERATOR_PASSWORD"),
    "viewer": (("Viewer",), "AIRFLOW_VIEWER_PASSWORD"),
    "n8n": ((SERVICE_ROLE,), "AIRFLOW_SERVICE_PASSWORD"),
}
"""Every account, its first roles, and the variable with its password."""
_FORMER_ROLES = {"operator": {"User", QUARANTINE_ROLE}}
"""The roles that accounts had before the role Operator existed."""
POOL, POOL_PURPOSE = "warehouse", "One slot: builds of the warehouse run one after another."


def main() -> None:
    """Update the database, or exit with the names of the missing variables."""
    if missing := [variable for _, variable in ACCOUNTS.values() if not os.environ.get(variable)]:
        sys.exit(f"{', '.join(missing)} not set; `make init` makes them")
    initdb()
    with get_application_builder() as builder:
        security = builder.sm
        security.sync_roles()
        is_new = security.find_role(OPERATOR_ROLE) is None
        of_user = [(each.action.name, each.resource.name) for each in security.find_role("User").permissions]
        security.bulk_sync_roles(
            [
                {"role": SERVICE_ROLE, "perms": SERVICE_PERMISSIONS},
                {"role": OPERATOR_ROLE, "perms": [_MENU, *(each for each in of_user if each != _DELETE_DAGS)]},
                {"role": "Viewer", "perms": [_MENU]},
                {"role": QUARANTINE_ROLE, "perms": QUARANTINE_PERMISSIONS},
            ]
        )
        for name, (role_names, variable) in ACCOUNTS.items():
            roles, password = [security.find_role(role) for role in role_names], os.environ[variable]
            user = security.find_user(name)
            if user is None:
                security.add_user(name, name, "(data-pipeline)", f"{name}@localhost.invalid", roles, password)
                continue
            if is_new and {role.name for role in user.roles} == _FORMER_ROLES.get(name):
                user.roles = roles
                security.update_user(user)
            if not check_password_hash(user.password, password):
                security.reset_password(user.id, password)
    with create_session() as session:
        if Pool.get_pool(POOL, session=session) is None:
            Pool.create_or_update_pool(POOL, 1, POOL_PURPOSE, include_deferred=False, session=session)


if __name__ == "__main__":
    main()
