"""Calls to other services: declared in one place, and standing while those do not.

``EndpointsDeclaration`` says what another service offers and what it answers; ``sp`` holds the
stability patterns, which fit any function. May know what stands below it: the app, its database and
FastAPI's glue. Imports no HTTP client before one is needed.
"""

from backstay.integration import sp
from backstay.integration.http.api import ApiHTTP
from backstay.integration.http.auth.api_key import ApiKeyAuth
from backstay.integration.http.auth.basic import BasicAuth
from backstay.integration.http.auth.bearer import BearerAuth
from backstay.integration.http.auth.oauth2 import OAuth2ClientCredentials
from backstay.integration.http.auth.signed import SignedAuth
from backstay.integration.http.caching.http_caching import HTTPCaching
from backstay.integration.http.declaration import EndpointsDeclaration
from backstay.integration.http.endpoint import endpoint_of
from backstay.integration.http.files.download import Download, download
from backstay.integration.http.http_method import HTTPMethod
from backstay.integration.http.integration_http import IntegrationHTTP
from backstay.integration.http.paging.page_rules import (
    Cursor,
    LinkHeader,
    NextUrl,
    Offset,
    Page,
    PageNumber,
    PageRule,
)
from backstay.integration.http.public_addresses import check_url, public_transport
from backstay.integration.installation import add_integrations
from backstay.integration.sample_models import generate_pydantic_models, py2dantic

__all__ = [
    "ApiHTTP",
    "ApiKeyAuth",
    "BasicAuth",
    "BearerAuth",
    "Cursor",
    "Download",
    "EndpointsDeclaration",
    "HTTPCaching",
    "HTTPMethod",
    "IntegrationHTTP",
    "LinkHeader",
    "NextUrl",
    "OAuth2ClientCredentials",
    "Offset",
    "Page",
    "PageNumber",
    "PageRule",
    "SignedAuth",
    "add_integrations",
    "check_url",
    "download",
    "endpoint_of",
    "generate_pydantic_models",
    "public_transport",
    "py2dantic",
    "sp",
]
