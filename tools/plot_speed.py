#!/usr/bin/env python3
"""Draws the speed of engines side by side as an SVG, from a table of benches/results.

    tools/plot_speed.py benches/results/nvidia-h200/2026-11-30-peers.csv doc/speed.svg

The table has a row for each engine and a column for each measurement; lines that begin with # are comments, and an empty cell has no
bar. A panel is one measurement, its bars are as long as their values. tests/repo/speed.rs reads the picture and compares it with the table.
"""

import csv
import sys
from html import escape

# Columns of the table, and what the panels call them.
PANELS = [
    ("decode_2048_tps", "Decode at 2K, tokens/s"),
    ("decode_32768_tps", "Decode at 32K, tokens/s"),
    ("decode_8_sessions_tps", "8 sessions at 2K, tokens/s together"),
    ("prefill_2048_tps", "Prefill to 2K, tokens/s"),
    ("prefill_32768_tps", "Prefill to 32K, tokens/s"),
    ("load_s", "Loading, seconds (shorter is better)"),
]

COLUMNS = 2  # panels side by side
PANEL = 460  # width of a panel
NAME = 190  # width of the engines' names
BAR = 200  # length of the longest bar
ROW = 20  # height of a bar and the gap below it
TITLE = 30  # height of a panel's title
GAP = 18  # below a panel
OWN = "dwarfstar"  # engines whose names begin like this are drawn in the stronger colour

STYLE = """
text { font-family: system-ui, sans-serif; font-size: 12px; fill: #24292f; }
.title { font-weight: 600; }
.own { fill: #1f6feb; }
.peer { fill: #afb8c1; }
@media (prefers-color-scheme: dark) {
  text { fill: #e6edf3; }
  .peer { fill: #57606a; }
}
"""


def table(path):
    """The rows of the table at `path`, without comments."""
    with open(path, newline="", encoding="utf-8") as file:
        return list(csv.DictReader(line for line in file if not line.startswith("#")))


def panel(rows, column, title, left, top):
    """The lines of one panel, whose upper left corner is given."""
    yield f'<text class="title" x="{left}" y="{top + 14}">{escape(title)}</text>'
    longest = max(float(row[column]) for row in rows if row[column])
    for number, row in enumerate(rows):
        engine, value = row["engine"], row[column]
        y = top + TITLE + number * ROW
        yield f'<text x="{left + NAME - 8}" y="{y + 11}" text-anchor="end">{escape(engine)}</text>'
        if not value:
            yield f'<text x="{left + NAME + 4}" y="{y + 11}">not measured</text>'
            continue
        length = float(value) / longest * BAR
        kind = "own" if engine.startswith(OWN) else "peer"
        name = escape(f"{engine}, {column}: {value}")
        yield f'<rect class="{kind}" x="{left + NAME}" y="{y}" width="{length:.1f}" height="{ROW - 6}"><title>{name}</title></rect>'
        yield f'<text x="{left + NAME + length + 4:.1f}" y="{y + 11}">{escape(value)}</text>'


def picture(rows):
    """The whole picture."""
    height = TITLE + len(rows) * ROW + GAP
    down = -(-len(PANELS) // COLUMNS)
    yield f'<svg xmlns="http://www.w3.org/2000/svg" width="{COLUMNS * PANEL}" height="{down * height}">'
    yield f"<style>{STYLE}</style>"
    for number, (column, title) in enumerate(PANELS):
        yield from panel(rows, column, title, number % COLUMNS * PANEL, number // COLUMNS * height)
    yield "</svg>"


def main():
    if len(sys.argv) != 3:
        sys.exit("usage: plot_speed.py TABLE.csv PICTURE.svg")
    lines = "".join(f"{line}\n" for line in picture(table(sys.argv[1])))
    with open(sys.argv[2], "w", encoding="utf-8") as file:
        file.write(lines)


if __name__ == "__main__":
    main()
