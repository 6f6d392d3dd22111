"""Write dashboards/*.json.  usage: python3 scripts/dashboards [--check]   with --check, fail when what is committed differs"""

import json
import pathlib
import sys

import alarms
import choices
import daemon
import drift
import fleet
import history
import labels
import model
import slices

FOLDER = pathlib.Path(__file__).resolve().parents[2] / "dashboards"
DASHBOARDS = {
    "fleet": fleet, "model-health": model, "slices": slices, "drift": drift, "labels": labels, "alarms": alarms,
    "choices-and-values": choices, "daemon": daemon, "history": history,
}


def main():
    differs = []
    for name, module in DASHBOARDS.items():
        text = json.dumps(module.make().body, indent=2, ensure_ascii=False) + "\n"
        path = FOLDER / f"{name}.json"
        if "--check" in sys.argv:
            if not path.exists() or path.read_text(encoding="utf-8") != text:
                differs.append(path.name)
        else:
            path.write_text(text, encoding="utf-8")
    strangers = {path.stem for path in FOLDER.glob("*.json")} - DASHBOARDS.keys()
    if differs or strangers:
        sys.exit(f"dashboards/: {', '.join([*differs, *sorted(strangers)])} not as scripts/dashboards makes it: run `make dashboards`")


main()
