"""What differs from place to place."""

import os

DATABASE_URL = os.getenv("DATABASE_URL", "sqlite:///service.db")
REDIS_URL = os.getenv("REDIS_URL", "")
ROOT = os.getenv("ROOT", "")  # tests that share a Redis have addresses of their own
DEBUG = False
DEV_STATUS = True
