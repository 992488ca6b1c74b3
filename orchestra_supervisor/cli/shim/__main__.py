"""Entry of the pump: works under `python -I -S`, where nothing but this file's place is known."""

import os
import sys

_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__)))))

if __name__ == "__main__":
    sys.path.append(_PACKAGE_HOME)
    from orchestra_supervisor.cli.shim.shim import main  # the path above must come first

    sys.exit(main(sys.argv[1:]))
