"""How a picture looks as SVG: its colours on a light and on a dark page, and its fonts and strokes."""

LIGHT = {
    "page": "#ffffff",
    "edge": "#d1d9e0",
    "text": "#1f2328",
    "soft": "#59636e",
    "line": "#6e7781",
    "plain": "#0969da",
    "plain-fill": "#f0f7ff",
    "holder": "#f6f8fa",
    "passed": "#1a7f37",
    "passed-fill": "#e6f8ea",
    "failed": "#cf222e",
    "failed-fill": "#ffebe9",
    "running": "#9a6700",
    "running-fill": "#fff8c5",
}
DARK = {
    "page": "#0d1117",
    "edge": "#3d444d",
    "text": "#f0f6fc",
    "soft": "#9198a1",
    "line": "#8b949e",
    "plain": "#4493f8",
    "plain-fill": "#121d2f",
    "holder": "#151b23",
    "passed": "#3fb950",
    "passed-fill": "#12261e",
    "failed": "#f85149",
    "failed-fill": "#2d1618",
    "running": "#d29922",
    "running-fill": "#272115",
}
_COLOURED = {
    ".page": "fill:{page};stroke:{edge}",
    ".title,.name,.told,.legend": "fill:{text}",
    ".subtitle,.kind,.comment,.when,.label": "fill:{soft}",
    ".box": "fill:{plain-fill};stroke:{plain}",
    ".holder": "fill:{holder}",
    ".pathed .plain .box": "fill:{page};stroke:{line}",
    ".passed .box": "fill:{passed-fill};stroke:{passed}",
    ".failed .box": "fill:{failed-fill};stroke:{failed}",
    ".running .box": "fill:{running-fill};stroke:{running}",
    ".not-reached .box": "fill:{page};stroke:{line}",
    ".not-reached .name,.not-reached .told": "fill:{soft}",
    ".sign.passed,.passed .sign": "fill:{passed}",
    ".sign.failed,.failed .sign,.failed .told,.when.catch": "fill:{failed}",
    ".sign.running,.running .sign": "fill:{running}",
    ".sign.not-reached,.not-reached .sign": "fill:{soft}",
    ".wire": "stroke:{line}",
    ".wire.catch": "stroke:{failed}",
    ".wire.taken": "stroke:{passed}",
    ".wire.catch.taken": "stroke:{failed}",
    ".head,.spot": "fill:{line}",
    ".head.taken,.spot.taken": "fill:{passed}",
    ".head.catch": "fill:{failed}",
    ".ring": "stroke:{line}",
    ".ring.taken": "stroke:{passed}",
}
SHAPED = """text{font:14px system-ui,-apple-system,"Segoe UI",Helvetica,Arial,sans-serif;white-space:pre}
.title{font-size:18px;font-weight:600}
.name,.sign{font:600 14px ui-monospace,SFMono-Regular,Menlo,Consolas,"DejaVu Sans Mono",monospace}
.sign{font-size:17px}
.told,.when.taken{font-weight:600}
.kind,.when,.label{font-size:12.5px;font-style:italic}
.box{stroke-width:1.5}
.failed .box{stroke-width:3}
.running .box{stroke-width:2;stroke-dasharray:9 4}
.not-reached .box{stroke-width:1;stroke-dasharray:2 3}
.wire{fill:none;stroke-width:1.5}
.catch{stroke-dasharray:5 4}
.wire.taken{stroke-width:3.5}
.ring{fill:none;stroke-width:1.5}
.pathed .wire:not(.taken),.pathed .head:not(.taken){opacity:.55}"""


def coloured(colours: dict[str, str]) -> str:
    """Give the rules that colour a picture."""
    return "\n".join(f"{selector}{{{rule.format(**colours)}}}" for selector, rule in _COLOURED.items())
