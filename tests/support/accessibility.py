"""What a screen reader is told of a page, from Chromium's own accessibility tree."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from playwright.sync_api import Page

OPERATED = {"button", "link", "textbox", "combobox", "slider", "checkbox", "radio", "Audio", "DisclosureTriangle"}
READ = {"image", "table", "region", "columnheader", "heading", "progressbar"}


def nodes(page: Page, roles: set[str]) -> list[tuple[str, str]]:
    """Role and accessible name of every node of these roles."""
    tree: dict[str, list[dict[str, Any]]] = page.context.new_cdp_session(page).send("Accessibility.getFullAXTree")
    told = [node for node in tree["nodes"] if not node["ignored"] and node["role"]["value"] in roles]
    return [(node["role"]["value"], node.get("name", {}).get("value", "").strip()) for node in told]


def unnamed(page: Page) -> list[str]:
    """What is operated or read, and has no name: its role, and what comes before it."""
    told = nodes(page, OPERATED | READ)
    return [f"{role} after {told[place - 1]}" for place, (role, name) in enumerate(told) if not name]
