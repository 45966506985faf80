"""The server of a review: pages and an interface for programs. The only room of the engine that knows of HTTP."""
