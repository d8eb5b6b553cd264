"""``docker compose up``: what it leaves, what it answers, and how the containers are closed."""

from __future__ import annotations

import json
import os
import stat
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import pytest

import libmpc
from libmpc.graph.model import Model
from tests.cli.run import run
from tests.containers.stack import SERVICES, Stack
from libmpc import data

pytestmark = [pytest.mark.containers, pytest.mark.timeout(900)]
