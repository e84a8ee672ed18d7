"""Alternative texts for the pictures of web pages and Markdown files that have none. Human text is never touched."""
