"""The migrations this release knows, in order."""

from __future__ import annotations

from services.common.migrations import m0001_first_indexes, m0002_upload_indexes, m0003_begun_with
from services.common.migrations.migration import in_order

MIGRATIONS = in_order([m0001_first_indexes.MIGRATION, m0002_upload_indexes.MIGRATION, m0003_begun_with.MIGRATION])
