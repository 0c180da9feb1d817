"""The page, in a browser."""

import json
import os
import shutil
from collections.abc import Callable

import pytest
from conftest import BUNDLE, Apns
from playwright.sync_api import expect, sync_playwright

from pushsvc.simulator import Simulator


def test_the_page_draws_cards_calls_and_refusals(simulator: Simulator, apns: Callable[..., Apns]) -> None:
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    if browser is None and os.environ.get("CI") != "true":
        pytest.skip("no chromium is installed")
    phone = simulator.devices.apns("production", BUNDLE)
    voip = simulator.devices.apns("production", f"{BUNDLE}.voip")
    connection = apns()
    for text in ("first", "second <b>bold</b>"):
        alert = {"aps": {"alert": {"title": "Alice", "body": text}, "badge": 3}}
        assert connection.push(phone.token, json.dumps(alert).encode(), apns_collapse_id="talk").status_code == 200
    connection.push(phone.token, b'{"aps":{"content-available":1}}', apns_push_type="background", apns_priority="5")
    connection.push(voip.token, b'{"from":"Bob"}', apns_push_type="voip", apns_topic=f"{BUNDLE}.voip")
    simulator.devices.unregister(phone.token)
    connection.push(phone.token)
    with sync_playwright() as playwright:
        chromium = playwright.chromium.launch(executable_path=browser, args=["--no-sandbox"])
        page = chromium.new_page()
        errors: list[str] = []
        page.on("pageerror", lambda error: errors.append(str(error)))
        page.goto(simulator.control_url)
        expect(page.locator(".phone")).to_have_count(2)
        expect(page.locator(".card")).to_have_count(1)
        expect(page.locator(".card .text")).to_have_text("second <b>bold</b>")
        expect(page.locator(".card .badge")).to_have_text("3")
        expect(page.locator(".call strong")).to_have_text("Bob")
        expect(page.locator(".silent")).to_have_count(2)
        expect(page.locator(".refused")).to_have_text("not shown: Unregistered")
        expect(page.locator("#refused")).to_have_text("1")
        expect(page.locator("#log .row")).to_have_count(5)
        page.get_by_label("Answer").click()
        expect(page.locator(".call")).to_have_count(0)
        assert errors == []
        chromium.close()
