"""Command lines that earlier READMEs named: each still parses, and its model options are known."""

from __future__ import annotations

import shlex
from importlib.util import find_spec
from pathlib import Path

import pytest

from lab.bench.suite import main as bench_encoders
from tests.command_lines import assert_parses

ROOT = Path(__file__).resolve().parent.parent
LINES = """\
longvid egoschema prepare
longvid compare runs/a runs/b
longvid egoschema plan --model blind --probe 8
longvid egoschema import akeys_gpt4o.json --name akeys --out runs/akeys
longvid bench aggregate CAPTIONS --questions 4
longvid bench encode --device meta --json bench.json --plot bench.png
longvid bench video-to-text --device cpu --repeats 1
longvid study masking
longvid youcook2-captioning import FILE --name svpc --out RUN
longvid doctor
longvid models
longvid models aggregator
longvid benchmarks
longvid --plugin tests/plugin/colours.py models
longvid kitchen-qa prepare
longvid youcook2-summary prepare --videos --mirror FOLDER
longvid youcook2-summary prepare --videos --mirror https://host/videos.zip
longvid youcook2-summary prepare --videos --mirror hf:OWNER/DATASET
longvid egoschema plan --model blind
longvid egoschema run --model aggregator -M captions=FILE -M llm=smollm2 -M route=letter-logprob
longvid egoschema run --model longvivit-l -M weights=FILE.safetensors
longvid egoschema score RUN
longvid egoschema import FILE --name NAME --out RUN --field NAME --count-invalid-as-wrong
longvid egoschema report RUN RUN2 --format table
longvid egoschema report RUN --format markdown
longvid egoschema report RUN --format json
longvid egoschema report RUN --format html
longvid egoschema submit RUN --upload
longvid egoschema set-score RUN 0.333 --source kaggle
longvid youcook2-retrieval run --model bm25 -M captions=FILE
longvid youcook2-captioning report RUN
longvid youcook2-summary run --model word-salad
longvid kitchen-qa run --model chance
longvid kitchen-retrieval run --model random-vectors
longvid kitchen-captioning run --model word-salad
longvid kitchen-summary run --model word-salad
longvid runs FOLDER
longvid compare A B C --allow-mismatch
longvid leaderboard RUNS -o leaderboard.json
longvid leaderboard RUNS --format csv
longvid pretrain --stage image --config FILE --out FOLDER --resume
longvid pretrain --stage captions --config FILE --out FOLDER
longvid ship STAGE STAGE2 --out FOLDER
longvid train-aggregator --captions FILE --held-out FILE --out FOLDER
longvid study masking --seeds 0,1,2
longvid ask QUESTIONS.jsonl --videos FOLDER -m chance
longvid kitchen-videos --split train --videos 200 -o FOLDER
longvid caption FOLDER -m coca -M name=x -o captions.jsonl --cut uniform:16
longvid caption egoschema -m aggregator -M captions=FILE --cut whole -o summaries.jsonl
longvid embed FOLDER --model openclip -M name=ViT-B-16 -M pretrained=TAG --out vectors.parquet
longvid embed FOLDER -m shortvivit-tiny -M weights=kitchen -o v.parquet --engine ray --workers 2 --gpus-per-worker 0.5
longvid embed FOLDER -m shortvivit-tiny -M weights=kitchen -o v.parquet --engine ray --address HOST:6379
longvid metrics captions HYP.json REF.json --tokenizer ptb
longvid metrics retrieval SIMILARITIES.npy
longvid bench decode VIDEO
longvid bench encode
longvid bench train-step
longvid bench metrics
longvid bench ranks
longvid bench aggregate CAPTIONS
longvid bench end-to-end -m longvivit-tiny -M weights=kitchen
longvid bench video-to-text
longvid bench scaling FOLDER -m longvivit-tiny -M weights=kitchen --workers 1 --workers 2
longvid bench sizing
longvid kitchen-retrieval run -m caption-vectors -M captioner=aggregator:captions=FILE -M cut=whole \
    -M caption_prompt=retrieval-text.v1 -M encoder=MODEL
longvid youcook2-retrieval run -m tfidf -M captions=summaries.jsonl
longvid ask tests/data/natural_questions.jsonl --videos ../shared/data/videos/natural -m aggregator \
    -M captioner=vlm:model=Qwen/Qwen2.5-VL-7B-Instruct,base_url=http://127.0.0.1:8000/v1 -M cut=uniform:16
longvid egoschema run --model aggregator -M captions=egoschema_lavila_1s.json -M two_step=true \
    -M llm=vllm:Qwen/Qwen3-4B-Instruct-2507 -M route=letter-logprob
longvid caption egoschema -m vlm -M model=Qwen/Qwen2.5-VL-7B-Instruct -M base_url=http://127.0.0.1:8000/v1 \
    -M concurrency=32 --cut uniform:16 -o captions.jsonl
longvid egoschema run --model aggregator -M captions=FILE -M llm=vllm:NAME -M tensor_parallel_size=4 \
    -M pipeline_parallel_size=2 -M gpu_memory_utilization=0.9 -M context=32768 -M 'engine={"max_num_seqs": 64}'
longvid egoschema run --model blind -M llm=openai:NAME -M concurrency=64 -M timeout=60
longvid caption egoschema -m vlm -M model=Qwen/Qwen2.5-VL-7B-Instruct -M base_url=http://127.0.0.1:8000/v1 \
    -M engine='{"concurrency": 32}' --cut uniform:16 -o captions.jsonl
longvid egoschema run --model aggregator -M captions=captions.jsonl -M llm=vllm:Qwen/Qwen3-4B-Instruct-2507 \
    -M route=letter-logprob
longvid run egoschema@500 -m aggregator -M captions=FILE -M llm=vllm:NAME \
    -M engine='{"tensor_parallel_size": 4, "gpu_memory_utilization": 0.9, "max_model_len": 32768}'
longvid run nextqa@val-500 -m blind -M llm=smollm2 -M route=options-loglik
longvid nextqa import nextqa_hga_val.json --name HGA --out runs/hga
longvid run mlvu@dev -m longest-option
longvid run cgbench@mini -m shortest-option
longvid run videomme@test-subtitles -m aggregator -M subtitles=all
longvid run longvideobench@val-subtitles -m aggregator -M subtitles=all -M captions=FILE
longvid run intentqa@test -m chance
longvid run hourvideo@dev -m blind
longvid run mlvu-generation@summary -m word-salad
longvid audit egoschema
longvid audit mlvu
longvid prepare kitchen-qa@100
longvid plan egoschema -m blind
longvid import egoschema FILE --name NAME --out RUN --allow-missing
longvid ask VIDEO question option option -m chance
longvid ask VIDEO question -m vlm -M model=NAME -M base_url=URL
longvid kitchen-annotations --split train --videos 400 -o train.json
longvid egoschema run --model openclip -M name=ViT-B-16 -M pretrained=TAG -M attention=joint
longvid run kitchen-qa@100 -m one-frame -M of=shortvivit-tiny:weights=kitchen
longvid doctor --server URL
longvid bench aggregate CAPTIONS --json -
longvid run egoschema@500 -m vlm -M model=NAME -M base_url=URL -M temperature=0.7 --rotations all --repeats 5
longvid needle VIDEO VIDEO2 -o FOLDER --fps 4 --side 360 --seed 0
longvid run kitchen-needle@400 -m longvivit-tiny -M weights=kitchen -M frames=128
longvid judge RUN --judge llm=smollm2 --judge dtype=float32 --labels FILE -o RUN2
longvid export RUN --to every-eval-ever -o FOLDER --samples --model-id OWNER/NAME
longvid export RUN --to wandb -o FOLDER --send
longvid leaderboard RUNS --flags FILE --flags FILE2 -o FOLDER
""".replace("\\\n", " ").splitlines()


@pytest.mark.parametrize("line", LINES)
def test_a_command_line_of_an_earlier_readme_still_parses(line: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(ROOT)
    monkeypatch.setenv("LONGVID_PLUGINS", "")
    assert_parses(shlex.split(line)[1:])


@pytest.mark.parametrize("module", ["encoders.bench", "evals.egoschema", "evals.pretrain"])
def test_a_module_that_a_readme_ran_is_there(module: str) -> None:
    assert find_spec(module) is not None


def test_the_encoders_bench_takes_its_options(capsys: pytest.CaptureFixture[str], tmp_path: Path) -> None:
    wanted = ["--device", "meta", "--sizes", "tiny", "--frames", "16", "--methods", "jst-mask0"]
    assert bench_encoders([*wanted, "--json", str(tmp_path / "bench.json")]) == 0
    assert (tmp_path / "bench.json").is_file()
    assert "jst-mask0" in capsys.readouterr().out


def test_the_makefile_has_every_target_that_a_readme_named() -> None:
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    targets = {line.partition(":")[0] for line in makefile.splitlines() if line[:1].isalpha() and ":" in line}
    named = ("demo", "test", "aggregator-oracle", "aggregator-shortvivit", "seeds", "recipe", "recipe-quick", "ship")
    assert targets >= {*named, "test-slow", "test-gpu", "test-vllm", "check"}
