"""One progress bar for terminals, Jupyter and the logs of headless runs; formatting durations."""

import sys
from collections.abc import Iterable

from tqdm import tqdm


def progress(
    iterable: Iterable | None = None,
    *,
    total: int,
    description: str,
    unit: str = "comment",
    inside: bool = False,
) -> tqdm:
    """Make a tqdm bar that is live in a terminal and redrawn about every two per cent elsewhere.

    It is a text bar in notebooks too. tqdm's widget leaves nothing to read in an executed copy,
    and a bar that is redrawn ten times a second floods papermill's log. A bar `inside` another one
    takes its line until it is closed: on a line below, it would have to move the cursor up, which
    notebooks and logs cannot do.
    """
    live = sys.stderr.isatty()
    return tqdm(
        iterable,
        total=total,
        desc=description,
        unit=unit,
        mininterval=0.2 if live else 0.0,
        miniters=None if live else max(1, total // 50),
        maxinterval=10 if live else 3600,  # a shorter interval would redraw slow bars every step
        dynamic_ncols=live,
        ncols=None if live else 90,
        position=0 if inside else None,
        leave=not inside,
    )


def format_seconds(seconds: float) -> str:
    """Format a duration: `75` becomes `1 min 15 s` and `7500` becomes `2 h 5 min`."""
    minutes, rest = divmod(round(seconds), 60)
    if minutes == 0:
        return f"{rest} s"
    hours, left = divmod(minutes, 60)
    return f"{hours} h {left} min" if hours else f"{minutes} min {rest} s"
