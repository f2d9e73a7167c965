"""The datasets, a folder each: contract, transform, settings and samples; docs/extending.md adds one."""
