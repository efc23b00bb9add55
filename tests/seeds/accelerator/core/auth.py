"""Who may come in."""

from backstay.auth import BaseAuthJWT


class AuthJWT(BaseAuthJWT):
    async def check_auth(username: str, password: str) -> bool:
        """Check the entered login and password."""
        return password == f"password-of-{username}"

    async def add_jwt_body(username: str) -> dict:
        """Function to add additional data to the user's JWT token"""
        return {"version": username.title()}
