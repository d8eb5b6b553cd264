"""Who may ask a gateway for what: tokens with roles, lists of models and limits, and their store.

The second layer of two. Models are pushed, served, stopped and deleted on the owner's *signature*,
which the parties check; a token only opens the gateway's door. Whoever takes over a gateway needs
no token there, and gains none of these rights.
"""

from libmpc.access.database import StoreError
from libmpc.access.grant import (
    MAX_GRANTS,
    ROLES,
    Grant,
    GrantError,
    Role,
    TokenState,
    check_id,
    make_grant,
)
from libmpc.access.lifetime import parse_expiry
from libmpc.access.store import FILE_NAME, AccessStore

__all__ = [
    "FILE_NAME",
    "MAX_GRANTS",
    "ROLES",
    "AccessStore",
    "Grant",
    "GrantError",
    "Role",
    "StoreError",
    "TokenState",
    "check_id",
    "make_grant",
    "parse_expiry",
]
