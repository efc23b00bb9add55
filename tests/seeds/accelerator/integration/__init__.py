"""Other services that are used."""
