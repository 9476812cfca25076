"""`python -m maquette_client` is the `maquette` command."""

import sys

from maquette_client.cli import main

if __name__ == "__main__":
    sys.exit(main())
