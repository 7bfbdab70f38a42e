"""The web page of `semi ui`: `semi.ui.page` has it, `semi.ui.server` serves it (extra `ui`)."""
