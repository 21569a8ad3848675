"""A bar chart as SVG text: bars at the median, whiskers from least to most. No library: the picture is small."""

from html import escape
from math import log10
from statistics import median

WIDTH, LEFT, RIGHT, BAR, GAP, TOP = 860, 330, 90, 16, 12, 44
COLOURS = {"tel": "#1b7f5c", "tel_submit": "#1b7f5c", "memcpy": "#9aa5b1"}
OTHER = "#c8743c"


def bars(title, rows, log=False, unit=""):
    """`rows`: (group, name, values), rows of one group next to each other."""
    most = max(max(values) for *_, values in rows)
    least = min(min(values) for *_, values in rows) if log else 0
    floor = 10 ** (int(log10(least)) - 1) if log and least < 1 else 1
    room = WIDTH - LEFT - RIGHT

    def at(value):
        if log:
            return LEFT + room * log10(max(value, floor) / floor) / log10(most / floor)
        return LEFT + room * value / most

    parts, y, group_before = [], TOP, None
    for group, name, values in rows:
        if group != group_before:
            y += GAP if group_before is not None else 0
            parts.append(f'<text x="8" y="{y + BAR - 4}" font-weight="bold">{escape(group)}</text>')
            group_before = group
        middle, low, high = at(median(values)), at(min(values)), at(max(values))
        centre = y + BAR / 2 - 1
        parts.append(f'<text x="{LEFT - 6}" y="{y + BAR - 4}" text-anchor="end">{escape(name)}</text>')
        parts.append(
            f'<rect x="{LEFT}" y="{y}" width="{max(middle - LEFT, 1):.1f}" height="{BAR - 2}" fill="{COLOURS.get(name, OTHER)}"/>'
        )
        parts.append(f'<path d="M{low:.1f} {centre}H{high:.1f}" stroke="#222"/>')
        parts.append(f'<text x="{max(middle, high) + 5:.1f}" y="{y + BAR - 4}">{median(values):.2f}{escape(unit)}</text>')
        y += BAR
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" width="{WIDTH}" height="{y + 12}" font-family="sans-serif" font-size="12">\n'
        f'<rect width="100%" height="100%" fill="#fff"/>\n<text x="8" y="22" font-size="15">{escape(title)}</text>\n'
        + "\n".join(parts)
        + "\n</svg>\n"
    )
