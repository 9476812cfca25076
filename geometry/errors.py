"""What can go wrong with meshes that come from files.

MeshError
├── UnreadableMesh   a file that is no mesh, or holds more than we can carry over
├── UnusableMesh     triangles from which nothing can be made
└── MissingLibrary   an optional library is not installed
"""


class MeshError(Exception):
    """Base of every mesh failure."""


class UnreadableMesh(MeshError, ValueError):
    pass


class UnusableMesh(MeshError, ValueError):
    pass


class MissingLibrary(MeshError, ImportError):
    pass
