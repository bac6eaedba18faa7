"""Runs the transcriber."""

from services.common.runner import run
from services.transcriber.app import build
from services.transcriber.settings import Settings

run("transcriber", Settings, build)
