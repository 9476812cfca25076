"""What can go wrong with stored files.

StorageError
├── BadKey           a key that could leave the storage or cannot be a file name
├── ObjectNotFound   no such object
└── StorageFull      no space, or a quota is spent
"""


class StorageError(Exception):
    """Base of every storage failure."""


class BadKey(StorageError, ValueError):
    pass


class ObjectNotFound(StorageError, FileNotFoundError):
    pass


class StorageFull(StorageError, OSError):
    pass
