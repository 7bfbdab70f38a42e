"""The tab "Health": what is installed, and whether it works."""

from __future__ import annotations

import sys
from contextlib import redirect_stdout
from html import escape

import gradio as gr

from semi.plugins import PluginInfo, list_plugins
from semi.ui.showing import notice, state, table
from semi.ui.telling import Update, telling

PLUGINS = ("state", "kind", "name")
CHECKS = ("state", "check", "found", "do this")


def build(page: gr.Blocks) -> None:
    """Lay out the tab in the Blocks around."""
    problem = gr.HTML()
    check = gr.Button("Check everything", variant="primary", elem_id="check")
    gr.HTML(notice("What semi doctor checks: loads every plugin, which takes some seconds."))
    found, plugins = gr.HTML(), gr.HTML()

    @telling(problem)
    def examined() -> Update:
        from semi.doctor import examine

        with redirect_stdout(sys.stderr):  # some packages print when they are imported
            checks = examine()
        order = ["fail", "warn", "ok"]
        rows = [
            (state(each.state), escape(each.name), escape(each.cause), escape(each.fix or ""))
            for each in sorted(checks, key=lambda each: order.index(each.state))
        ]
        return {found: table(CHECKS, rows, _verdict([each.state for each in checks]), cards=True)}

    @telling(problem)
    def listed() -> Update:
        rows = [(state(p.state, p.cause or ""), p.kind, _named(p)) for p in list_plugins()]
        return {plugins: table(PLUGINS, rows, "Plugins")}

    check.click(examined, None, [problem, found], api_visibility="private")
    page.load(listed, None, [problem, plugins], api_visibility="private")


def _named(plugin: PluginInfo) -> str:
    return f"{escape(plugin.name)}<br><small>{escape(plugin.distribution)} {escape(plugin.version)}</small>"


def _verdict(states: list[str]) -> str:
    failed, warned = states.count("fail"), states.count("warn")
    return f"{failed} of {len(states)} checks failed, {warned} with a warning"
