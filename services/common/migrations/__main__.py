"""`python -m services.common.migrations`, which `earmark migrate` runs."""

import sys

from services.common import logs
from services.common.migrations.command import main

logs.configure("migrate", level="error", fmt="console")
sys.exit(main(sys.argv[1:]))
