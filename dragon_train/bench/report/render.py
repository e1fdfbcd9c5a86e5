"""Write the page as HTML: one file that reaches for nothing outside itself."""

from __future__ import annotations

from base64 import b64encode
from hashlib import sha256
from importlib.resources import files
from typing import TYPE_CHECKING

from jinja2 import Environment, PackageLoader, StrictUndefined
from markupsafe import Markup, escape
from vl_convert import javascript_bundle

if TYPE_CHECKING:
    from dragon_train.bench.report.view import PageView


def render(view: PageView) -> str:
    """Return the HTML of a page.

    Names and prompts are text: the template escapes them. The policy that the page states lets the browser run this
    script alone, apply this style alone, and load nothing but the page's own data.
    """
    script, style = javascript_bundle(asset("page.js")), asset("page.css")
    policy = "; ".join(
        [
            "default-src 'none'",
            f"script-src {fingerprint(script)}",
            f"style-src {fingerprint(style)}",
            "img-src data:",
            "media-src data:",
            "base-uri 'none'",
            "form-action 'none'",
        ]
    )
    environment = Environment(
        loader=PackageLoader("dragon_train.bench.report", "."),
        autoescape=True,
        undefined=StrictUndefined,
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.filters["breakable"] = breakable
    return environment.get_template("page.html").render(page=view, script=script, style=style, policy=policy)


def breakable(text: str) -> Markup:
    """Return a name as HTML that may break into lines after its colons and at signs.

    >>> str(breakable("<b>:clap"))
    '&lt;b&gt;:<wbr>clap'
    """
    return escape(text).replace(":", Markup(":<wbr>")).replace("@", Markup("@<wbr>"))


def asset(name: str) -> str:
    """Return the text of a file that lies beside this module."""
    return files("dragon_train.bench.report").joinpath(name).read_text(encoding="utf-8")


def fingerprint(text: str) -> str:
    """Return the name by which a content security policy allows a script or a style within a page.

    >>> fingerprint("")
    "'sha256-47DEQpj8HBSa+/TImW+5JCeuQeRkm5NMpJWZG3hSuFU='"
    """
    return f"'sha256-{b64encode(sha256(text.encode()).digest()).decode()}'"
