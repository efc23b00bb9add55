"""For tests of calls to other services: mocks, recorded answers, and checks of these.

Everything here stands in at one place, ``EndpointsDeclaration.stand_in``. May know declared
integrations and how secrets are masked; knows no app and no pytest.
"""

__all__: list[str] = []
