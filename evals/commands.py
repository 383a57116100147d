"""The list of commands; importing this module imports none of them."""

from __future__ import annotations

from tasks.registry import CommandEntry

COMMANDS = (
    CommandEntry(
        name="run",
        summary="Answer every item of a benchmark, keep the record, show the result beside its floors.",
        target="evals.verbs:run",
        example="longvid run egoschema@500 -m blind -M llm=smollm2 --limit 20",
        forwards=True,
    ),
    CommandEntry(
        name="plan",
        summary="Estimate a run's items, tokens, time, memory and disk space.",
        target="evals.verbs:plan",
        example="longvid plan egoschema -m blind -M llm=smollm2",
        forwards=True,
    ),
    CommandEntry(
        name="prepare",
        summary="Fetch or make a benchmark's files.",
        target="evals.verbs:prepare",
        example="longvid prepare kitchen-qa@100",
        forwards=True,
    ),
    CommandEntry(
        name="import",
        summary="Turn predictions made elsewhere into a record.",
        target="evals.verbs:import_file",
        example="longvid import egoschema choices.csv --name gpt4o --out runs/gpt4o",
        forwards=True,
    ),
    CommandEntry(
        name="audit",
        summary="Check a benchmark's own files for flaws that spoil its figures.",
        target="evals.audit:audit",
        example="longvid audit egoschema@500",
    ),
    CommandEntry(
        name="score",
        summary="Score a record again; needs no model.",
        target="evals.verbs:score",
        example="longvid score runs/egoschema@500/my-run",
        forwards=True,
    ),
    CommandEntry(
        name="report",
        summary="Set runs beside their floors, as a table or a page.",
        target="evals.verbs:report",
        example="longvid report runs/egoschema@500/my-run --format html",
        forwards=True,
    ),
    CommandEntry(
        name="sweep",
        summary="Run a model with several values of an option: curve, differences, cost.",
        target="evals.sweep:sweep",
        example="longvid sweep kitchen-qa@100 -m longvivit-tiny -M weights=kitchen --over frames=8,16,32,64",
    ),
    CommandEntry(
        name="flags",
        summary="List the questions that blind runs answer correctly.",
        target="evals.flags:flags",
        example="longvid flags runs/nextqa@val-500/blind-* -o flags/nextqa.json",
    ),
    CommandEntry(
        name="judge",
        summary="Have a language model judge the free answers of a run.",
        target="evals.judge:judge",
        example="longvid judge runs/mine/my-run --judge llm=smollm2 --labels labels.jsonl",
    ),
    CommandEntry(
        name="export",
        summary="Export a finished run in another project's format.",
        target="evals.export:export",
        example="longvid export runs/egoschema@500/my-run --to every-eval-ever -o exported",
    ),
    CommandEntry(
        name="needle",
        summary="Insert a brief event into videos of your own, to make a benchmark.",
        target="evals.needle:needle",
        example="longvid needle videos/lecture.mp4 videos/match.mkv -o needles",
    ),
    CommandEntry(
        name="demo",
        summary="Make the built-in benchmark, run systems on it, show the leaderboard.",
        target="evals.demo.command:demo",
        example="longvid demo --out runs/demo",
    ),
    CommandEntry(
        name="suite",
        summary="Run the systems of a plan side by side, show the leaderboard.",
        target="evals.demo.command:suite",
        example="longvid suite plan.toml --out runs/suite",
    ),
    CommandEntry(
        name="ask",
        summary="Ask a model your own questions about your own videos.",
        target="evals.ask:ask",
        example="longvid ask videos/questions.jsonl -m aggregator -M captions=captions.jsonl -M llm=smollm2",
    ),
    CommandEntry(
        name="models",
        summary="List the models, or one model's options.",
        target="evals.listing:models",
        example="longvid models aggregator",
    ),
    CommandEntry(
        name="benchmarks",
        summary="List the benchmarks, their pools and where their data are.",
        target="evals.listing:benchmarks",
        example="longvid benchmarks",
    ),
    CommandEntry(
        name="compare",
        summary="Compare runs item by item: differences with intervals, a test, in words.",
        target="evals.compare.command:compare",
        example="longvid compare runs/aggregator runs/blind",
    ),
    CommandEntry(
        name="leaderboard",
        summary="Show records side by side: one table per task and pool.",
        target="evals.leaderboard.command:leaderboard",
        example="longvid leaderboard runs -o leaderboard.json",
    ),
    CommandEntry(
        name="runs",
        summary="List the runs under folders.",
        target="evals.runs:runs",
        example="longvid runs runs",
    ),
    CommandEntry(
        name="metrics",
        summary="Score caption and similarity files without running anything.",
        target="evals.metrics:app",
    ),
    CommandEntry(
        name="caption",
        summary="Caption segments of videos, for any number of models to read.",
        target="evals.caption:caption",
        example="longvid caption videos -m coca -M name=coca_ViT-L-14 -M pretrained=TAG -o captions.jsonl",
    ),
    CommandEntry(
        name="embed",
        summary="Write one vector per video.",
        target="evals.embed:embed",
        example="longvid embed videos -m openclip -M name=ViT-B-16 -M pretrained=openai -o v.parquet",
    ),
    CommandEntry(
        name="pretrain",
        summary="Train one stage of the encoder's recipe.",
        target="evals.pretrain:pretrain",
        example="longvid pretrain --stage image --config kitchen-tiny --out runs/tiny",
    ),
    CommandEntry(
        name="train-aggregator",
        summary="Train an adapter for an aggregator's language model.",
        target="evals.pretrain:train_aggregator",
        example="longvid train-aggregator --captions train.json --held-out val.json --out runs/aggregator",
    ),
    CommandEntry(
        name="ship",
        summary="Copy the weights of finished stages with their training records.",
        target="evals.ship:ship",
        example="longvid ship runs/recipe/seed-0/image runs/recipe/seed-0/short --out checkpoints",
    ),
    CommandEntry(
        name="kitchen-annotations",
        summary="Write the sentences and times of kitchen's videos.",
        target="evals.kitchen_split:kitchen_annotations",
        example="longvid kitchen-annotations --split train --videos 400 -o train.json",
    ),
    CommandEntry(
        name="kitchen-videos",
        summary="Make the videos of a split of kitchen.",
        target="evals.kitchen_split:kitchen_videos",
        example="longvid kitchen-videos --split train --videos 200 -o runs/train",
    ),
    CommandEntry(
        name="doctor",
        summary="Say what this machine can run.",
        target="evals.doctor.command:doctor",
        example="longvid doctor --server http://localhost:8000/v1",
    ),
    CommandEntry(
        name="egoschema submit",
        summary="Write both submission forms of a full run; nothing is sent without --upload.",
        target="evals.egoschema:submit",
        example="longvid egoschema submit runs/egoschema@5031/my-run --upload",
    ),
    CommandEntry(
        name="egoschema set-score",
        summary="Keep the score that a server gave for a run's submission.",
        target="evals.egoschema:set_score",
        example="longvid egoschema set-score runs/egoschema@5031/my-run 0.333 --source kaggle",
    ),
)
