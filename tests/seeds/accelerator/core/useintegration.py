"""Integrations used in the project"""

import os

from tests.seeds.accelerator.integration.google_translate.endpoint import GoogleTranslateEndpoints

# Creating an instance of integration
gtapi = GoogleTranslateEndpoints(
    base_url=os.getenv("TRANSLATE_URL", "https://translate-pa.googleapis.com"),
    # Save credentials in the class that we can use in integration methods
    credentials={"API_TOKEN": "t0ken"},
)
