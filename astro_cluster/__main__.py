"""Run the command line with ``python -m astro_cluster``."""

from __future__ import annotations

from astro_cluster.cli import main

if __name__ == "__main__":
    main()
