"""View sets beside handlers written by hand, FastCRUD, and Litestar with advanced-alchemy."""
