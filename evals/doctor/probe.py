"""A process of its own that imports what is heavy: the device, each model's code, frames of some videos.

`python -m evals.doctor.probe models` and `python -m evals.doctor.probe videos PATH…` print one JSON object. Whatever
happens there, a hang or a crash of a library, the doctor goes on without it.
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
    """The probe's answers by name (None: all is well), or in words why there are none."""
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
    """For each model what hinders its code from loading; under `device` the GPU's name, None where there is none."""
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
    """The GPU that torch would use."""
    try:
        import torch
    except ImportError:
        return None
    return str(torch.cuda.get_device_name()) if torch.cuda.is_available() else None


def videos(paths: Sequence[str]) -> Answers:
    """For each file what hinders two frames, at its first and last quarter, from being decoded."""
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
    """Print the answers to one question."""
    answers = models() if arguments[0] == "models" else videos(arguments[1:])
    console.emit(json.dumps(answers))


if __name__ == "__main__":
    main(sys.argv[1:])
