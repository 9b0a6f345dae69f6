"""Commands that are refused at once, each in a process forked from one that has imported them.

Started with a list of folders and arguments as JSON on its stdin, it prints for each the exit code,
stdout and stderr. A command that waits is ended by an alarm, and none may read files whose mode
forbids it, as root may.
"""

import ctypes
import json
import os
import signal
import subprocess
import sys
import tempfile
from pathlib import Path

_DROP_FROM_BOUNDING_SET = 24
_CAPABILITIES_OVER_MODES = (1, 2)
"""PR_CAPBSET_DROP; CAP_DAC_OVERRIDE and CAP_DAC_READ_SEARCH."""
PATIENCE_S = 60
Outcome = tuple[int, str, str]


def outcomes(commands: list[tuple[Path, list[str]]]) -> list[Outcome]:
    """Of commands in their folders, in order."""
    text = json.dumps([(str(folder), arguments) for folder, arguments in commands])
    ended = subprocess.run(
        [sys.executable, "-m", "tests.refused_commands"],
        input=text, capture_output=True, text=True, check=False,
        cwd=Path(__file__).parents[1], preexec_fn=_as_anybody,
    )  # fmt: skip
    assert ended.returncode == 0, ended.stderr
    return [(code, out, err) for code, out, err in json.loads(ended.stdout)]


def can_read(path: Path) -> bool:
    """Whether such commands may read a file."""
    code = "import sys; open(sys.argv[1])"
    return not subprocess.run(
        [sys.executable, "-c", code, path], stderr=subprocess.DEVNULL, check=False,
        preexec_fn=_as_anybody,
    ).returncode  # fmt: skip


def _as_anybody() -> None:
    """Take from root what lets it read every file, where it has the right to give it up."""
    if os.geteuid() == 0 and sys.platform == "linux":
        for capability in _CAPABILITIES_OVER_MODES:
            ctypes.CDLL(None).prctl(_DROP_FROM_BOUNDING_SET, capability, 0, 0, 0)


def _outcome(folder: str, arguments: list[str]) -> Outcome:
    from workbench import cli

    with tempfile.TemporaryFile() as out, tempfile.TemporaryFile() as err:
        if (pid := os.fork()) == 0:
            signal.alarm(PATIENCE_S)
            os.chdir(folder)
            os.dup2(out.fileno(), 1)
            os.dup2(err.fileno(), 2)
            code = 70
            try:
                code = cli.main(arguments)
                sys.stderr.flush()
            finally:
                os._exit(code)
        _, status = os.waitpid(pid, 0)
        texts = [os.pread(file.fileno(), 1 << 16, 0).decode() for file in (out, err)]
    return os.waitstatus_to_exitcode(status), texts[0], texts[1]


if __name__ == "__main__":
    from workbench.commands import registry

    for name in registry.COMMANDS:
        registry.module(name)
    print(json.dumps([_outcome(folder, arguments) for folder, arguments in json.load(sys.stdin)]))
