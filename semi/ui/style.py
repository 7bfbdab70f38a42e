"""How the page looks: one theme, light and dark, from 390 px on, nothing fetched from elsewhere."""

from __future__ import annotations

from pathlib import Path

import gradio as gr

CSS = Path(__file__).with_name("page.css")
LABELS = """() => {
  const label = () => document.querySelectorAll("button[aria-dropeffect]").forEach((button) => {
    const found = button.closest(".block")?.querySelector("[data-testid=block-label]");
    if (found) button.setAttribute("aria-label", `${found.innerText.trim()}: choose or drop files`);
  });
  new MutationObserver(label).observe(document.body, { childList: true, subtree: true });
  label();
}"""
"""Run in the browser: gradio gives all its buttons for files the same name."""
FONT = ("ui-sans-serif", "system-ui", "sans-serif")
MONO = ("ui-monospace", "Consolas", "monospace")


def theme() -> gr.themes.Base:
    """Green as in the reports of `semi study`, fonts of the system."""
    made = gr.themes.Base(
        primary_hue=gr.themes.colors.emerald,
        secondary_hue=gr.themes.colors.emerald,
        neutral_hue=gr.themes.colors.slate,
        radius_size=gr.themes.sizes.radius_lg,
        font=FONT,
        font_mono=MONO,
    )
    return made.set(
        body_background_fill="*neutral_50",
        body_text_color_subdued="*neutral_600",
        body_text_color_subdued_dark="*neutral_400",
        block_label_text_color="*neutral_700",
        block_info_text_color="*neutral_600",
        block_info_text_color_dark="*neutral_400",
        color_accent="*primary_600",
        body_background_fill_dark="*neutral_950",
        block_border_width="1px",
        block_shadow="none",
        button_primary_background_fill="*primary_700",
        button_primary_background_fill_hover="*primary_800",
        button_primary_background_fill_dark="*primary_700",
        button_primary_background_fill_hover_dark="*primary_600",
        button_primary_text_color="white",
    )
