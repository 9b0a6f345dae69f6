"""`gemma-bench completion`: what a shell needs to complete our commands at a tab."""

from argparse import ArgumentParser, Namespace

from engine.problems import ExitCode, Refusal

EXAMPLES = """\
  echo 'eval "$(gemma-bench completion bash)"' >> ~/.bashrc
  echo 'eval "$(gemma-bench completion zsh)"' >> ~/.zshrc       below compinit
  gemma-bench completion fish > ~/.config/fish/completions/gemma-bench.fish"""
SHELLS = ("bash", "zsh", "fish")


def add_arguments(parser: ArgumentParser) -> None:
    """A shell."""
    parser.add_argument("shell", metavar="SHELL", help=f"one of {', '.join(SHELLS)}")


def run(arguments: Namespace) -> int:
    """Print its script. Raises `Refusal` for a shell that is none of these."""
    if arguments.shell not in SHELLS:
        fix = f"Choose one of {', '.join(SHELLS)}"
        raise Refusal.of("completion", f"there is none for {arguments.shell!r}", fix)
    from argcomplete.shell_integration import shellcode

    print(shellcode(["gemma-bench"], shell=arguments.shell))
    return ExitCode.DONE
