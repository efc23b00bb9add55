"""The manager."""

from backstay.db import MainDatabaseManager
from tests.seeds.accelerator.core.config import DATABASE_URL, DEBUG, DEV_STATUS

DatabaseManager = MainDatabaseManager(DATABASE_URL, echo=DEBUG, DEV_STATUS=DEV_STATUS)
