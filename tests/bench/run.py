"""`make bench`: every bench module in turn, rows merged into .bench/result.json with the machine described."""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent
RESULT = HERE.parents[1] / ".bench" / "result.json"


def machine() -> dict[str, object]:
    model = next(
        (
            line.partition(":")[2].strip()
            for line in Path("/proc/cpuinfo").read_text(encoding="utf-8").splitlines()
            if line.startswith("model name")
        ),
        platform.processor(),
    )
    return {"cpu": model, "cores": os.cpu_count(), "python": platform.python_version(), "kernel": platform.release()}


def main() -> int:
    wanted = sys.argv[1:]
    rows, failed = [], []
    for module in sorted(HERE.glob("bench_*.py")):
        if wanted and not any(word in module.stem for word in wanted):
            continue
        print(f"\n== {module.stem}", flush=True)
        with tempfile.TemporaryDirectory() as folder:
            out = Path(folder) / "rows.json"
            done = subprocess.run([sys.executable, str(module), "--json", str(out)], check=False)
            if done.returncode == 0 and out.exists():
                rows.extend(json.loads(out.read_text(encoding="utf-8")))
            else:
                failed.append(module.stem)
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps({"machine": machine(), "rows": rows, "failed": failed}, indent=1), encoding="utf-8")
    print(f"\n{len(rows)} rows in {RESULT}; failed: {', '.join(failed) or 'none'}")
    return 1 if failed else 0


if __name__ == "__main__":
    sys.exit(main())
