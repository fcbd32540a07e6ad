"""Users as hashes: who comes back can be told, and who it is cannot.

A hash is keyed with a salt of the venture's own, so that it cannot be found by trying names without it, and the same user has another
hash in another venture. Who deletes the salt makes all earlier hashes meaningless.
"""

from __future__ import annotations

import hashlib
import hmac
import secrets
from typing import TYPE_CHECKING

from ..store.files import read_json, write_json

if TYPE_CHECKING:
    from .venture import Venture

SALT_FILE = "users-salt.json"
HASH_CHARACTERS = 16


def user_hash(venture: Venture, user: str) -> str:
    """The name of a user in the ledger (HMAC-SHA-256, the first 64 bits)."""
    path = venture.state / SALT_FILE
    if not path.exists():
        # A secret, and no part of an experiment: not to be derived from a seed.
        write_json(path, {"salt": secrets.token_hex(32)})
        path.chmod(0o600)
    salt = bytes.fromhex(read_json(path)["salt"])
    return hmac.new(salt, user.encode(), hashlib.sha256).hexdigest()[:HASH_CHARACTERS]
