"""A separate process for heavy imports: tries the device, each model's code, and frames of some videos.

`python -m evals.doctor.probe models` and `python -m evals.doctor.probe videos PATH…` print one JSON object. The doctor
carries on even if a library hangs or crashes here.
"""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

from evals import console

Answers = dict[str, str | None]
SECONDS = 120
FRAMES = 2


def ask(*arguments: str, seconds: float = SECONDS) -> Answers | str:
    """Run the probe and return its answers by name (None: no fault), or the reason why there are none."""
    command = [sys.executable, "-m", "evals.doctor.probe", *arguments]
    root = Path(__file__).resolve().parents[2]
    try:
        done = subprocess.run(command, capture_output=True, text=True, timeout=seconds, check=True, cwd=root)
        answers: dict[str, object] = json.loads(done.stdout.strip().splitlines()[-1])
    except subprocess.TimeoutExpired:
        return f"no answer within {seconds:g} s"
    except subprocess.CalledProcessError as error:
        return str((error.stderr.strip().splitlines() or [f"exit code {error.returncode}"])[-1])
    except (OSError, ValueError, IndexError) as error:
        return str(error)
    return {name: None if fault is None else str(fault) for name, fault in answers.items()}


def models() -> Answers:
    """Return, for each model, why its code does not load; under `device`, the GPU's name or None."""
    from tasks.registry import models, resolved

    faults: Answers = {}
    for name, spec in models().entries.items():
        try:
            resolved(spec.build)
            faults[name] = None
        except ImportError as error:
            faults[name] = str(error)
    return {"device": device(), **faults}


def device() -> str | None:
    """Return the name of the GPU that torch would use."""
    try:
        import torch
    except ImportError:
        return None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def videos(paths: Sequence[str]) -> Answers:
    """Return, for each file, why frames at its first and last quarter can't be decoded."""
    from encoders.frames import read_frames
    from encoders.sampling import FramePolicy
    from encoders.video_file import probe
    from tasks.errors import LongvidError
    from tasks.task import Clip

    faults: Answers = {}
    for path in paths:
        try:
            clip = Clip(path, 0.0, probe(Path(path)).duration, Path(path))
            read_frames(clip, FramePolicy(count=FRAMES, size=64))
            faults[path] = None
        except LongvidError as error:
            faults[path] = str(error)
    return faults


def main(arguments: Sequence[str]) -> None:
    """Print the probe's answers as JSON."""
    answers = models() if arguments[0] == "models" else videos(arguments[1:])
    console.emit(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
