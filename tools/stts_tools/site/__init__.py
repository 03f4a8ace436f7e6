"""The documentation site, less its pages: what is generated when it is built. See mkdocs.yml."""
