"""All results as one page of Markdown tables: results/*.json → results/README.md.

python benchmarks/table.py
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from measure import RESULTS


def main(argv: Sequence[str] | None = None) -> int:
    """Write the page; returns the exit status."""
    options = argparse.ArgumentParser(description="Write all results as one page of tables.")
    options.add_argument("--results", type=Path, default=RESULTS, metavar="FOLDER", help="where the JSON files are")
    folder = options.parse_args(argv).results
    results = [json.loads(path.read_text(encoding="utf-8")) for path in sorted(folder.glob("*.json"))]
    if not results:
        print(f"table.py: no results in {folder}; `make bench` writes them", file=sys.stderr)
        return 2
    lines = ["# Results", "", "Written by `benchmarks/table.py` from the JSON files beside it.", ""]
    for result in results:
        lines += _section(result)
    (folder / "README.md").write_text("\n".join(lines), encoding="utf-8")
    return 0


def _section(result: Mapping[str, Any]) -> Iterator[str]:
    machine = result["machine"]
    yield f"## {result['benchmark']}"
    yield ""
    libraries = ", ".join(f"{name} {version}" for name, version in machine["libraries"].items())
    yield f"{result['date']}, {machine['cores']} cores of {machine['cpu']}, {machine['threads']} threads, {libraries}."
    yield f"Load when it began: {machine['load_at_start']}."
    yield ""
    yield "; ".join(f"{name.replace('_', ' ')}: {value}" for name, value in result["settings"].items()) + "."
    yield ""
    yield "| figure | median | minimum | maximum | runs | unit |"
    yield "| --- | ---: | ---: | ---: | ---: | --- |"
    for title, row in result["figures"].items():
        numbers = " | ".join(f"{row[part]:g}" for part in ("median", "minimum", "maximum"))
        yield f"| {title} | {numbers} | {row['runs']} | {row['unit']} |"
    yield ""


if __name__ == "__main__":
    sys.exit(main())
