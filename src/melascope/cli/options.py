"""Options that several verbs share."""

import typer

MODEL = typer.Option(
    help="A .keras file, the stem of one, or a run folder (default: the shipped finetuned_model)."
)
RUN = typer.Argument(help="A run folder, a .keras file, or the stem of one.")
DATA = typer.Argument(help="Data set folder made by `melascope prepare`.")
REPORT = typer.Option(help="Report folder.")
SPLIT = typer.Option(help="`all` suits a data set the model never met.")
RAY = typer.Option(
    help="Spread the work over a Ray cluster: HOST:PORT, auto, or local. Its machines share the files' paths."
)
