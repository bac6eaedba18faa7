"""`python -m services.gateway`."""

from services.common.runner import run
from services.gateway.app import build
from services.gateway.settings import Settings

if __name__ == "__main__":
    run("gateway", Settings, build)
