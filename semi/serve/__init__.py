"""Integrations over HTTP, in the shape of OpenAI's API: `create_app` for one's own server, `semi serve` for ours."""
