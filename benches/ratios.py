"""How figures are compared, and said."""

import sys
from statistics import median


def say(text):
    print(f"bench: {text}", file=sys.stderr, flush=True)


def against(series, base):
    """Ratios round by round: what both met in the same moment is divided out."""
    return [one / other for one, other in zip(series, base)]


def spread(ratios):
    return f"{min(ratios):.2f} / {median(ratios):.2f} / {max(ratios):.2f}"
