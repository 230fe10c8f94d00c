"""A local AWS on loopback: MiniStack's services behind one port, with AWS's own strictness.

``python -m weir_local.aws --port P --state DIR`` serves it, :class:`weir_local.aws.server.LocalAws`
starts it for tests, :mod:`weir_local.aws.mends` lists what is mended and by which AWS page.
"""
