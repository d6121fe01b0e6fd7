"""What every page stands on: render(), filters, form fields, paging, exports. README: templates/README.md."""
