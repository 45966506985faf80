"""The page of those who have no session yet."""

from __future__ import annotations

from starlette.responses import HTMLResponse

from engine.review.server.templates import render


def sign_in_page(password: bool, used: bool = False, wrong: bool = False) -> HTMLResponse:
    """Return the page that asks for the password, or says where an address is to be had.

    Args:
        password: whether there is one. used: a one-time address was opened again. wrong: the password was wrong.
    """
    text = render("sign_in.html", password=password, used=used, wrong=wrong)
    return HTMLResponse(text, 401)
