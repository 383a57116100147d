"""`longvid metrics …`: score files without running anything; JSON out."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from evals import console

app = typer.Typer(
    help="Score caption files and similarity matrices without running anything.",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
)


@app.command(epilog="Example: longvid metrics captions hyp.json ref.json --tokenizer ptb")
def captions(
    hypotheses: Annotated[Path, typer.Argument(metavar="HYP.json", help="Ids to text, or a dense-captioning file.")],
    references: Annotated[Path, typer.Argument(metavar="REF.json", help="Ids to text or list of texts.")],
    tokenizer: Annotated[
        str, typer.Option(help="ptb (lower-cased, no punctuation), letters (a to z only) or none (unchanged).")
    ] = "ptb",
    meteor: Annotated[
        Path | None,
        typer.Option(
            metavar="JAR", help="meteor-1.5.jar; by default it is searched for, and METEOR skipped if there is none."
        ),
    ] = None,
) -> None:
    """Print bleu_1 … bleu_4, rouge_l, cider_d and meteor of all items as one corpus.

    A dense-captioning file ({"results": {video: [{"sentence": …}]}}) counts as one paragraph per video. Both files must
    have the same ids: nothing is scored against another pool.
    """
    from json import dumps

    from tasks.caption_files import score_caption_files
    from tasks.caption_metrics.meteor import find_meteor
    from tasks.tokenizers import tokenizer as tokenizer_of

    figures = score_caption_files(hypotheses, references, tokenizer_of(tokenizer), find_meteor(meteor))
    console.emit(dumps({**figures, "tokenizer": tokenizer}, indent=2))


@app.command(epilog="Example: longvid metrics retrieval similarities.npy")
def retrieval(
    similarities: Annotated[
        Path,
        typer.Argument(metavar="SIMILARITIES.npy", help="Matrix, texts by videos; row i belongs to column i."),
    ],
    dual_softmax: Annotated[
        float | None,
        typer.Option(metavar="TEMPERATURE", help="Rescale by all queries at once: not comparable with other figures."),
    ] = None,
) -> None:
    """Print recall, median and mean rank in both directions; ties count against the model."""
    from json import dumps

    from tasks.retrieval_files import score_similarity_file

    console.emit(dumps(score_similarity_file(similarities, dual_softmax), indent=2))
