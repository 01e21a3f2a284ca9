"""The HTTP service behind `pscr serve`: FastAPI for routes and their description, uvicorn for the sockets."""
