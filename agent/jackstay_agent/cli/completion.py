"""`jackstay completion SHELL`: the script that lets a shell complete commands and options with the tab key."""

from __future__ import annotations

import click
from click.shell_completion import get_completion_class


@click.command(name="completion")
@click.argument("shell", type=click.Choice(["bash", "zsh", "fish"]))
@click.pass_context
def completion(ctx: click.Context, shell: str) -> None:
    """Print what makes SHELL complete jackstay's commands and options.

    \b
    eval "$(jackstay completion bash)"        in ~/.bashrc (bash 4.4 or newer)
    eval "$(jackstay completion zsh)"         in ~/.zshrc, after compinit
    jackstay completion fish | source         in ~/.config/fish/config.fish
    """
    made_by = get_completion_class(shell)
    assert made_by is not None  # the choice above names click's own three
    click.echo(made_by(ctx.find_root().command, {}, "jackstay", "_JACKSTAY_COMPLETE").source())
