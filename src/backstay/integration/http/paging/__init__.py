"""Lists that come in pages, asked for as they are wanted."""

__all__: list[str] = []
