"""Tests of Earmark: unit, contract, integration, e2e and chaos; what they share is in tests.support."""
