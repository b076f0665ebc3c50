"""Runs carried out on a Ray cluster. What Ray reads when it is imported is set here, before a module imports it."""

import os

from sweeper.running.address import DEFAULTS

os.environ.update({**DEFAULTS, **os.environ})
