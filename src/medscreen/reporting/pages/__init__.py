"""Markdown documents from Jinja2 templates with escaped values, and their conversion to HTML."""
