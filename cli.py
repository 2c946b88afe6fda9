"""The `warploom` command: arguments come in, one room is called, text or JSON and an exit code go out.

Each command imports its room inside its body, so that `warploom --help` stays quick.
"""

from __future__ import annotations

import typer

app = typer.Typer(
    name="warploom",
    no_args_is_help=True,
    add_completion=False,
    pretty_exceptions_enable=False,
    help="Weave PyTorch models and CUDA kernels into fast, verified code.",
)


def main() -> None:
    """Console entry point."""
    app()


if __name__ == "__main__":
    main()
