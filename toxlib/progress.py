"""One progress bar for terminals, Jupyter and the logs of headless runs."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(
    iterable: Iterable | None = None, *, total: int, description: str, unit: str = "comment"
) -> tqdm:
    """A tqdm bar: live in a terminal, elsewhere redrawn only about every two per cent.

    A text bar also in notebooks: tqdm's widget leaves nothing to read in an executed copy, and a
    bar that is redrawn ten times a second floods papermill's log.
    """
    live = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=description,
        unit=unit,
        mininterval=0.2 if live else 0.0,
        miniters=None if live else max(1, total // 50),
        maxinterval=10 if live else 3600,  # or slow bars would be redrawn at every step
        dynamic_ncols=live,
        ncols=None if live else 90,
    )
