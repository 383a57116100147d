"""`longvid export RUN --to FORM -o PLACE`: write a finished run in another project's format, with its intervals.

The command writes files; only `--to wandb --send` sends anything. What a format has no field for goes into its notes or
details, so that no figure is exported without its interval and the chance level.
"""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from hashlib import sha256
from importlib.metadata import version
from pathlib import Path
from shlex import join
from typing import TYPE_CHECKING, Annotated, Any, Literal
from uuid import UUID

import typer

from evals import console
from evals.benchmark_app import DATA, VIDEOS
from tasks.errors import DataError, ModelError, RecordError

if TYPE_CHECKING:
    from evals.record import Results, Sample
    from tasks.task import Item, Metric, Task

Form = Literal["every-eval-ever", "hf-eval-results", "wandb"]
Relationship = Literal["first_party", "third_party", "collaborative", "other"]
SCHEMA = "0.3.0"
"""Version of Every Eval Ever's schema that the files follow."""
UNKNOWN, LIBRARY = "unknown", "longvid"
UNSAFE = str.maketrans(dict.fromkeys('<>:"\\|?*/', "_"))


@dataclass(frozen=True, slots=True)
class Named:
    """Facts that a run does not record: the model's name on the hub, and who evaluated it."""

    model_id: str
    organization: str = "not stated"
    relationship: Relationship = "other"


def export(
    run: Annotated[Path, typer.Argument(metavar="RUN", help="The directory of a complete run.")],
    to: Annotated[Form, typer.Option("--to", help="The format to write.")],
    out: Annotated[
        Path, typer.Option("--out", "-o", help="A folder; for hf-eval-results a .yaml file in the model's repository.")
    ],
    model_id: Annotated[
        str | None,
        typer.Option(help="The model as OWNER/NAME; default: its hub name if the run records one, else longvid/…."),
    ] = None,
    organization: Annotated[str, typer.Option(help="every-eval-ever: who ran the evaluation.")] = "not stated",
    relationship: Annotated[
        Relationship, typer.Option(help="every-eval-ever: their relationship to the model's developer.")
    ] = "other",
    samples: Annotated[
        bool, typer.Option("--samples", help="every-eval-ever: also each question and answer; mind the licence.")
    ] = False,
    dataset: Annotated[str | None, typer.Option(help="hf-eval-results: the benchmark on the hub, OWNER/NAME.")] = None,
    task_id: Annotated[
        str | None, typer.Option(help="hf-eval-results: the benchmark's task; default: the pool's name.")
    ] = None,
    project: Annotated[str, typer.Option(help="wandb: the project.")] = LIBRARY,
    send: Annotated[bool, typer.Option("--send", help="wandb: send the run to the server.")] = False,
    data: DATA = None,
    videos: VIDEOS = None,
) -> None:
    """Write a complete run in another project's format. Nothing is sent without --send."""
    from evals.store import read_results, read_samples

    results = read_results(run)
    if results.status != "complete":
        raise RecordError(f"{run} is {results.status}: only a complete run can be exported")
    if send and to != "wandb":
        raise RecordError("--send is for --to wandb; the other formats are files that you submit yourself")
    named = Named(model_id or model_name(results), organization, relationship)
    if to == "hf-eval-results":
        if dataset is None:
            raise RecordError("--to hf-eval-results needs --dataset OWNER/NAME, the benchmark on the hub")
        written = [write_yaml(out, hub_entry(results, dataset, task_id))]
    elif to == "wandb":
        written = [write_wandb(results, out, project, send=send)]
    else:
        rows: list[dict[str, Any]] = []
        path = eee_path(results, named)
        if samples:
            from evals.benchmarks import task_of_run
            from evals.store import read_run

            task = task_of_run(read_run(run), data, videos)
            rows = sample_rows(results, named, task, read_samples(run))
        written = write_eee(out, path, aggregate(results, named, path, rows), rows)
    for file in written:
        console.say(f"wrote {file}")


def model_name(results: Results) -> str:
    """Return the model as OWNER/NAME: a video language model's hub name, or `longvid/` and the model's name."""
    options = results.model.effective or results.model.options
    told = options.get("llm", "").partition(":")[2] or options.get("model", "")
    if results.model.name == "vlm" and told.count("/") == 1 and not told.startswith((".", "/")):
        return told
    return f"{LIBRARY}/{results.model.name.translate(UNSAFE)}"


def created(results: Results) -> datetime:
    """Return the time at which the run began."""
    return datetime.fromisoformat(results.provenance.created)


def epoch(results: Results) -> str:
    """Return the run's start in seconds since 1970, as the schema's text; with it, repeated exports are identical."""
    return str(int(created(results).timestamp()))


# --- Every Eval Ever ------------------------------------------------------------------------------------


def eee_path(results: Results, named: Named) -> Path:
    """Return the file's path in the datastore: benchmark, developer and model; its name is derived from the run.

    Raises ModelError for a model that is not given as OWNER/NAME.
    """
    owner, slash, name = named.model_id.partition("/")
    if not slash or not owner or not name:
        raise ModelError(f"--model-id must have the form OWNER/NAME, not '{named.model_id}'")
    digest = sha256(f"{results.fingerprint}{epoch(results)}".encode()).digest()
    file = UUID(bytes=digest[:16], version=4)
    return Path(
        "data", results.task.name.translate(UNSAFE), owner.translate(UNSAFE), name.translate(UNSAFE), f"{file}.json"
    )


def evaluation_id(results: Results, named: Named) -> str:
    """Return the run's id in the datastore."""
    return f"{results.task.name}/{named.model_id}/{epoch(results)}"


def result_id(results: Results, metric: Metric) -> str:
    """Return a figure's id in the datastore."""
    return f"{results.task.name}/{metric.name}"


def aggregate(results: Results, named: Named, path: Path, rows: Sequence[Mapping[str, Any]]) -> dict[str, Any]:
    """Return the content of the file of a run's figures; `rows` are the samples that go into a file beside it."""
    at = created(results).isoformat()
    made: dict[str, Any] = {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id(results, named),
        "evaluation_timestamp": at,
        "retrieved_timestamp": epoch(results),
        "source_metadata": {
            "source_name": LIBRARY,
            "source_type": "evaluation_run",
            "source_organization_name": named.organization,
            "evaluator_relationship": named.relationship,
        },
        "eval_library": {"name": LIBRARY, "version": results.provenance.versions.get(LIBRARY, version(LIBRARY))},
        "model_info": model_info(results, named),
        "evaluation_results": [
            evaluation_result(results, metric) for metric in results.metrics if metric.value is not None
        ],
    }
    if rows:
        text = lines_of(rows)
        made["detailed_evaluation_results"] = {
            "format": "jsonl",
            "file_path": path.with_name(f"{path.stem}_samples.jsonl").as_posix(),
            "hash_algorithm": "sha256",
            "checksum": sha256(text.encode()).hexdigest(),
            "total_rows": len(rows),
        }
    return made


def model_info(results: Results, named: Named) -> dict[str, Any]:
    """Describe the model, with its options as texts. Who deploys a model that is served over HTTP is unknown."""
    model = results.model
    options = model.effective or model.options
    served = options.get("llm", "").startswith("openai:")
    details = {
        "deployment_type": UNKNOWN if served or results.imported else "self_deployed",
        "model_availability": "open_weights" if model.weights_sha256 else UNKNOWN,
        **{f"option {name}": value for name, value in options.items()},
        **({} if model.parameters is None else {"parameters": str(model.parameters)}),
        **({} if model.weights_sha256 is None else {"weights_sha256": model.weights_sha256}),
        "device": model.device,
    }
    developer = named.model_id.partition("/")[0]
    return {"name": model.name, "id": named.model_id, "developer": developer, "additional_details": details}


def evaluation_result(results: Results, metric: Metric) -> dict[str, Any]:
    """Describe one figure with its uncertainty, its protocol and its floors."""
    from tasks.registry import family_of

    unit = family_of(results.task.family).unit(metric.name)
    is_share = unit.symbol == "%"
    details = {
        "clusters": f"{metric.clusters} ({results.task.cluster})",
        "primary": str(metric.primary).lower(),
        "chance": str(results.task.chance),
        **{f"floor {row.model}": str(row.metric.value) for row in results.floors if row.metric.name == metric.name},
        **({"warnings": " | ".join(results.warnings)} if results.warnings else {}),
    }
    score: dict[str, Any] = {"score": metric.value, "details": details, "uncertainty": uncertainty(metric)}
    return {
        "evaluation_result_id": result_id(results, metric),
        "evaluation_name": results.task.name,
        "source_data": source_data(results),
        "evaluation_timestamp": created(results).isoformat(),
        "metric_config": {
            "metric_id": metric.name,
            "metric_name": metric.name.replace("_", " "),
            "metric_kind": metric.name,
            "metric_unit": "proportion" if is_share else "points",
            "lower_is_better": not metric.higher_is_better,
            "score_type": "continuous",
            "min_score": 0,
            "max_score": 1 if is_share else "Infinity",
            "additional_details": dict(results.protocol),
            **judging(results, metric),
        },
        "score_details": score,
        "generation_config": {
            "generation_args": generation_args(results),
            "additional_details": {"seed": str(results.seed)},
        },
    }


def uncertainty(metric: Metric) -> dict[str, Any]:
    """Return the sample size and, if there is one, the interval, in the schema's own fields."""
    found: dict[str, Any] = {"num_samples": metric.n}
    if metric.interval is not None:
        low, high = metric.interval
        found["confidence_interval"] = {
            "lower": low,
            "upper": high,
            "confidence_level": metric.level,
            "method": metric.method,
        }
    return found


def judging(results: Results, metric: Metric) -> dict[str, Any]:
    """Describe the language model that judged a figure; empty if none did."""
    if "judge" not in results.protocol or not metric.name.startswith("judged"):
        return {}
    judge = results.protocol["judge"]
    details = {"deployment_type": UNKNOWN, "model_availability": UNKNOWN}
    return {
        "llm_scoring": {
            "judges": [{"model_info": {"name": judge, "id": judge, "additional_details": details}, "temperature": 0}],
            "input_prompt": results.protocol.get("judge_prompt", UNKNOWN),
        }
    }


def generation_args(results: Results) -> dict[str, Any]:
    """Return the command, and the generation settings among the run's options."""
    options = results.model.effective or results.model.options
    found: dict[str, Any] = {"execution_command": join(results.provenance.argv)}
    for name in ("temperature", "top_p"):
        if name in options:
            found[name] = float(options[name])
    if options.get("max_tokens", "").isdigit():
        found["max_tokens"] = int(options["max_tokens"])
    if "prompt" in results.protocol:
        found["prompt_template"] = f"{results.protocol['prompt']} (sha256 {results.protocol.get('prompt_sha256', '')})"
    return found


def source_data(results: Results) -> dict[str, Any]:
    """Describe the benchmark, by its address if its source contains one."""
    task = results.task
    details = {"items_sha256": task.items_sha256, "licence": task.licence, "citation": task.citation}
    addresses = [word.strip("(),;") for word in task.source.split() if word.startswith("https://")]
    told: dict[str, Any] = {"dataset_name": task.name, "additional_details": {**details, "source": task.source}}
    return {**told, "source_type": "url", "url": addresses} if addresses else {**told, "source_type": "other"}


def sample_rows(results: Results, named: Named, task: Task[Any], samples: Mapping[str, Sample]) -> list[dict[str, Any]]:
    """Return a row for each answered item that has its own score. Raises DataError if none has."""
    from tasks.registry import family_of

    family = family_of(results.task.family)
    primary = results.primary
    rows = []
    for item in task.items():
        sample = samples.get(item.id)
        value = None if sample is None else sample.scores.get(family.item_score or primary.name)
        if sample is not None and value is not None:
            rows.append(sample_row(results, named, item, sample, value))
    if not rows:
        raise DataError(f"{results.task.name} has no scores of single items: leave out --samples")
    return rows


def sample_row(results: Results, named: Named, item: Item, sample: Sample, value: float) -> dict[str, Any]:
    """Describe an item and its answer, as the schema of instances requires."""
    from tasks.registry import family_of

    shown = family_of(results.task.family).show(item)
    right = shown.options[shown.answer] if shown.answer is not None else None
    answer = sample.answer
    text = shown.options[answer] if isinstance(answer, int) and answer < len(shown.options) else str(answer or "")
    references = [right] if right is not None else list(shown.references)
    choices = {"choices": list(shown.options)} if shown.options else {}
    usage = sample.tokens
    return {
        "schema_version": SCHEMA,
        "evaluation_id": evaluation_id(results, named),
        "model_id": named.model_id,
        "evaluation_name": results.task.name,
        "evaluation_result_id": result_id(results, results.primary),
        "sample_id": item.id,
        "sample_hash": sha256(f"{shown.title}{references}".encode()).hexdigest(),
        "interaction_type": "single_turn",
        "input": {"raw": shown.title, "reference": references, **choices},
        "output": {"raw": [sample.raw or text]},
        "answer_attribution": [
            {
                "turn_idx": 0,
                "source": "output.raw",
                "extracted_value": text,
                "extraction_method": sample.rule or UNKNOWN,
                "is_terminal": True,
            }
        ],
        "evaluation": {"score": value, "is_correct": value == 1},
        "token_usage": {
            "input_tokens": usage.prompt,
            "output_tokens": usage.completion,
            "total_tokens": usage.prompt + usage.completion,
        },
        "metadata": {"cluster": item.cluster, "video": item.clip.video_id, **sample.labels},
    }


def lines_of(rows: Sequence[Mapping[str, Any]]) -> str:
    """Format rows as JSON lines."""
    return "".join(f"{json.dumps(row, ensure_ascii=False)}\n" for row in rows)


def write_eee(out: Path, path: Path, made: Mapping[str, Any], rows: Sequence[Mapping[str, Any]]) -> list[Path]:
    """Write the figures and, if there are rows, the file of samples. Return the paths of both."""
    from evals.store import write_atomic

    place = out / path
    place.parent.mkdir(parents=True, exist_ok=True)
    written = [place]
    write_atomic(place, json.dumps(made, indent=2, ensure_ascii=False) + "\n")
    if rows:
        written.append(place.with_name(f"{place.stem}_samples.jsonl"))
        write_atomic(written[-1], lines_of(rows))
    return written


# --- The hub's evaluation results -----------------------------------------------------------------------


def hub_entry(results: Results, dataset: str, task_id: str | None) -> dict[str, Any]:
    """Return the entry for `.eval_results/*.yaml` in a model's repository: the primary figure, its interval as a note.

    Raises RecordError if the figure is unknown.
    """
    from tasks.registry import family_of

    metric = results.primary
    if metric.value is None:
        raise RecordError(f"{results.name} has no {metric.name}: {metric.method}")
    unit = family_of(results.task.family).unit(metric.name)
    ends = "" if metric.interval is None else f", 95 % interval {'–'.join(map(unit.number, metric.interval))}"
    notes = (
        f"{results.task.name}: {metric.name} {unit.text(metric.value)}{ends} over {metric.clusters} clusters "
        f"({results.task.cluster}); chance {unit.text(results.task.chance)}; "
        f"{', '.join(f'{name} {value}' for name, value in results.protocol.items())}; longvid {version(LIBRARY)}"
    )
    return {
        "dataset": {"id": dataset, "task_id": task_id or results.task.name.rpartition("@")[2]},
        "value": round(unit.scale * metric.value, 4),
        "date": created(results).isoformat(),
        "notes": notes,
    }


def write_yaml(path: Path, entry: Mapping[str, Any]) -> Path:
    """Write a list of one entry as YAML, with values as JSON, which YAML includes.

    Raises RecordError if the file is not a .yaml file or exists.
    """
    from evals.store import write_atomic

    if path.suffix not in (".yaml", ".yml"):
        raise RecordError(f"{path}: name a .yaml file, in the model's repository under .eval_results/")
    if path.exists():
        raise RecordError(f"{path} already exists: name another file, and merge the entries by hand")
    lines = []
    for key, value in entry.items():
        if isinstance(value, Mapping):
            lines += [
                f"{key}:",
                *(f"  {inner}: {json.dumps(told, ensure_ascii=False)}" for inner, told in value.items()),
            ]
        else:
            lines.append(f"{key}: {json.dumps(value, ensure_ascii=False)}")
    path.parent.mkdir(parents=True, exist_ok=True)
    first, *rest = lines
    write_atomic(path, "\n".join([f"- {first}", *(f"  {line}" for line in rest)]) + "\n")
    return path


# --- Weights & Biases -----------------------------------------------------------------------------------


def summary_of(results: Results) -> dict[str, float | int | str]:
    """Return the figures, the ends of their intervals and the seconds per item as a flat dictionary."""
    found: dict[str, float | int | str] = {"status": results.status, "items": results.counts.answered}
    for metric in results.metrics:
        if metric.value is not None:
            found[metric.name] = metric.value
        if metric.interval is not None:
            found[f"{metric.name}/low"], found[f"{metric.name}/high"] = metric.interval
    for row in results.floors:
        if row.metric.value is not None:
            found[f"floor/{row.model}"] = row.metric.value
    if results.cost.seconds_per_item is not None:
        found["seconds_per_item"] = results.cost.seconds_per_item
    return found


def config_of(results: Results) -> dict[str, str]:
    """Return what was run as a flat dictionary: the task, the model, its options and the protocol."""
    return {
        "task": results.task.name,
        "items_sha256": results.task.items_sha256,
        "model": results.model.name,
        "fingerprint": results.fingerprint,
        **{f"option/{name}": value for name, value in (results.model.effective or results.model.options).items()},
        **{f"protocol/{name}": value for name, value in results.protocol.items()},
    }


def write_wandb(results: Results, out: Path, project: str, *, send: bool) -> Path:
    """Write a Weights & Biases run into a folder, and send it if asked to. Return the run's folder.

    Raises ModelError if wandb is not installed, RecordError if wandb can't write or send the run.
    """
    try:
        import wandb
    except ImportError:
        raise ModelError("--to wandb needs the package wandb: pip install 'longvid[wandb]'") from None
    out.mkdir(parents=True, exist_ok=True)
    mode: Literal["online", "offline"] = "online" if send else "offline"
    # What wandb notes of its own accord (this machine, its packages, load, folders and git state) is not the run's.
    settings = wandb.Settings(
        x_disable_meta=True,
        x_disable_stats=True,
        x_disable_machine_info=True,
        x_save_requirements=False,
        disable_git=True,
        disable_code=True,
        console="off",
    )
    try:
        made = wandb.init(
            project=project, name=results.name, config=config_of(results), dir=str(out), mode=mode, settings=settings
        )
        made.summary.update(summary_of(results))
        place = Path(made.dir).parent
        made.finish()
    except wandb.Error as error:
        what = "send" if send else "write"
        raise RecordError(f"wandb can't {what} the run: {' '.join(str(error).split())}") from error
    return place
