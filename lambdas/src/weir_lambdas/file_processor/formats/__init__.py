"""One module a family of formats: each reads plain bytes and gives records to a sink."""
