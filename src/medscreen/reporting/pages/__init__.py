"""Documents from Jinja2 templates: Markdown with escaped values, and Markdown as one HTML page."""
