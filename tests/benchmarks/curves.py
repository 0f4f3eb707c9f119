"""Draw a curve for each series of a benchmark, in the environment of `make bench`: JSON on stdin, SVG on stdout."""

import json
import sys

import vl_convert


def main():
    about = json.load(sys.stdin)
    values = [
        {about["x"]: x, about["y"]: y, "of": name}
        for name, ys in about["series"].items()
        for x, y in zip(about["at"], ys, strict=True)
    ]
    spec = {
        "$schema": "https://vega.github.io/schema/vega-lite/v5.json",
        "background": "white",
        "width": 560,
        "height": 280,
        "data": {"values": values},
        "mark": {"type": "line", "point": True},
        "encoding": {
            "x": {
                "field": about["x"],
                "type": "quantitative",
                "scale": {"type": "log"},
                "axis": {"values": about["at"]},
            },
            "y": {"field": about["y"], "type": "quantitative"},
            "color": {"field": "of", "type": "nominal", "title": None, "sort": list(about["series"])},
            "strokeDash": {"field": "of", "type": "nominal", "title": None, "sort": list(about["series"])},
        },
    }
    sys.stdout.write(vl_convert.vegalite_to_svg(spec))


if __name__ == "__main__":
    main()
