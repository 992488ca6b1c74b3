"""Entry of the keeper: works under `python -I -S`, where nothing but this file's place is known."""

import os
import sys

_PACKAGE_HOME = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))

if __name__ == "__main__":
    sys.path.append(_PACKAGE_HOME)
    # The path above must come first, and what is put off before what imports it: 1.2 MB for `dataclasses`.
    from orchestra_supervisor.later import put_off_inspect

    put_off_inspect()
    from orchestra_supervisor.keeper.boot import main

    sys.exit(main(sys.argv))
