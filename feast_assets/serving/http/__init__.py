"""The HTTP door: a raw ASGI application and the server that runs it."""
