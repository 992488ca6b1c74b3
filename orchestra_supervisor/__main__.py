"""Run the `orchestra` command as `python -m orchestra_supervisor`."""

import sys

from orchestra_supervisor.cli.main import main

if __name__ == "__main__":
    sys.exit(main())
