"""What differs from place to place."""

import os
from pathlib import Path

DATABASE_URL = os.getenv("DATABASE_URL", "sqlite:///service.db")
REDIS_URL = os.getenv("REDIS_URL", "")
ROOT = os.getenv("ROOT", "")  # tests that share a Redis have addresses of their own
SECRET_KEY = os.getenv("SECRET_KEY", "")
BASE_DIR = Path(__file__).parent.parent
DEBUG = os.getenv("DEBUG") == "1"
DEV_STATUS = True
