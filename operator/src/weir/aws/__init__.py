"""AWS as adapters: one module a service, each kind an :class:`weir.resource.Adapter`.

To add a service, add one module here with a tuple ``ADAPTERS`` of adapter classes;
:mod:`weir.aws.registry` finds it. ``session`` owns clients, ``calls`` turns failures into
:mod:`weir.aws.errors`, ``documents`` knows when two JSON documents mean the same.
"""
