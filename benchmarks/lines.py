"""One aligned line a comparison: what, ours, the peer's, their ratio, the goal, and whether met."""

WIDTHS = (44, 14, 14, 8, 8, 6)


def heading(title: str) -> None:
    """Print what the lines below it compare, and the names of their columns."""
    print(f"\n{title}", flush=True)
    put("", "ours", "peer", "ratio", "goal", "")


def line(
    what: str,
    ours: str,
    peer: str,
    ratio: float,
    least: float | None = None,
    most: float | None = None,
) -> None:
    """Print one comparison; the goal is a ratio of at least `least` or of at most `most`."""
    goal, verdict = "", ""
    if least is not None:
        goal, verdict = f">= {least:g}", "ok" if ratio >= least else "missed"
    elif most is not None:
        goal, verdict = f"<= {most:g}", "ok" if ratio <= most else "missed"
    put(what, ours, peer, f"{ratio:.2f}", goal, verdict)


def put(what: str, *cells: str) -> None:
    """Print one row."""
    first, *others = WIDTHS
    row = what.ljust(first) + "".join(
        cell.rjust(width) for cell, width in zip(cells, others, strict=True)
    )
    print(row.rstrip(), flush=True)
