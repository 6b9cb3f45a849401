"""Draws the times of mobility-recovery.json.

plot.py FILE.json FILE.svg
"""
import json
import sys
from html import escape

LEFT, TOP, ROW, WIDTH = 190, 64, 44, 520

with open(sys.argv[1], encoding="utf-8") as file:
    record = json.load(file)
events = record["events"]
longest = max(max(t["back_ms"], t["bound_ms"]) for e in events for t in e["turns"])
seconds = int(longest // 1000) + 1


def x(milliseconds):
    return LEFT + WIDTH * milliseconds / (seconds * 1000)


height = TOP + ROW * len(events) + 50
out = [
    f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {LEFT + WIDTH + 30} {height}" '
    'font-family="sans-serif" font-size="13">',
    "<title>How long the service is away</title>",
    f'<rect width="100%" height="100%" fill="white"/>',
    '<text x="12" y="24" font-size="16">Until the first answer from A, after what was broken '
    "is whole again</text>",
    f'<text x="12" y="44" fill="#555">{len(events[0]["turns"])} turns each, lifetime 4 s; '
    f'the bar: within what time the next update has to come; at {escape(record["commit"])}'
    "</text>",
]
bottom = TOP + ROW * len(events)
for second in range(seconds + 1):
    at = x(second * 1000)
    out.append(f'<line x1="{at:.1f}" y1="{TOP}" x2="{at:.1f}" y2="{bottom}" stroke="#ddd"/>')
    out.append(
        f'<text x="{at:.1f}" y="{bottom + 18}" text-anchor="middle">{second} s</text>'
    )
for number, event in enumerate(events):
    middle = TOP + ROW * number + ROW / 2
    bound = max(turn["bound_ms"] for turn in event["turns"])
    out.append(
        f'<text x="{LEFT - 10}" y="{middle + 4}" text-anchor="end">{escape(event["event"])}</text>'
    )
    out.append(
        f'<rect x="{LEFT}" y="{middle - 14}" width="{max(x(bound) - LEFT, 1):.1f}" height="28" '
        'fill="#e8eef8"/>'
    )
    for place, turn in enumerate(event["turns"]):
        spread = middle - 10 + 20 * place / max(len(event["turns"]) - 1, 1)
        out.append(
            f'<circle cx="{x(turn["back_ms"]):.1f}" cy="{spread:.1f}" r="2.6" fill="#1f5fb4" '
            'fill-opacity="0.7"/>'
        )
out.append("</svg>")
with open(sys.argv[2], "w", encoding="utf-8") as file:
    file.write("\n".join(out) + "\n")
