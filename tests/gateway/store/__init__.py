"""`conformance.py` holds what any adapter of the store's port must pass."""

import pytest

pytest.register_assert_rewrite("tests.gateway.store.conformance")
