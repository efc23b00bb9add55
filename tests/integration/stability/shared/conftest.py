"""Asserts of the conformance suite explain themselves."""

import sys

import pytest

SUITE = "backstay.testing.integration_conformance"

if SUITE not in sys.modules:  # too late otherwise, and pytest would warn
    pytest.register_assert_rewrite(SUITE)
