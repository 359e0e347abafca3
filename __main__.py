"""The command line: `varifold run GRAPH`."""

from __future__ import annotations

import argparse
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager

from .studio.errors import Cancelled, NodeError, SettingError, WorkflowError, describe
from .studio.host import StudioHost
from .studio.terminal import Terminal


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 cancelled."""
    parser = argparse.ArgumentParser(prog="varifold", description="Diffusion workflows without ComfyUI.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_run(verbs)
    arguments = parser.parse_args(argv)
    try:
        return arguments.act(arguments)
    except (Cancelled, KeyboardInterrupt):
        print("cancelled", file=sys.stderr)
        return 130
    except (WorkflowError, NodeError) as error:
        print(f"error: {error}", file=sys.stderr)
        if arguments.debug:
            traceback.print_exc()
        elif isinstance(error, NodeError):
            print(f"({error.exception_type}; --debug shows where)", file=sys.stderr)
        return 2 if isinstance(error, SettingError) else 1


def _add_run(verbs: argparse._SubParsersAction) -> None:
    run = verbs.add_parser(
        "run",
        help="run a workflow",
        description="Run a workflow: JSON as ComfyUI saves or exports it, or a PNG that carries one.",
        epilog="Pictures to load are looked for in ./input, then beside GRAPH. Denoisers are looked for in "
        "$VARIFOLD_MODELS, else in ~/.local/share/varifold/models (.safetensors, subfolders too).",
    )
    run.add_argument("graph", metavar="GRAPH", help="a workflow .json, or a .png made by one")
    run.add_argument(
        "--set",
        metavar="NODE.INPUT=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="change an input; NODE is an id, a title or a node type (can be repeated)",
    )
    run.add_argument("--output", metavar="DIR", default="output", help="where results go (default: ./output)")
    run.add_argument(
        "--shard",
        metavar="i/N",
        type=_shard,
        default=(0, 1),
        help="do part i of N (0 <= i < N) of the work of nodes that can divide it",
    )
    run.add_argument("--debug", action="store_true", help="show the Python traceback of an error")
    run.set_defaults(act=_run)


def _shard(text: str) -> tuple[int, int]:
    index, _, count = text.partition("/")
    if not (index.isdecimal() and count.isdecimal() and int(index) < int(count)):
        raise argparse.ArgumentTypeError(f"{text!r} is not i/N with 0 <= i < N, for example 0/4")
    return int(index), int(count)


def _run(arguments: argparse.Namespace) -> int:
    from .studio.runner import run_file

    host = StudioHost(Terminal(sys.stderr))
    with _interrupt_sets(host):
        report = run_file(arguments.graph, arguments.settings, arguments.output, arguments.shard, host)
    for path in report.files:
        print(path)
    print(f"{len(report.files)} file{'' if len(report.files) == 1 else 's'} in {report.seconds:.1f} s")
    if report.node_errors:
        problems = describe(report.prompt, report.node_errors)
        print(f"error: some outputs were left out:\n{problems}", file=sys.stderr)
        return 1
    return 0


@contextmanager
def _interrupt_sets(host: StudioHost) -> Iterator[None]:
    """The first Ctrl-C cancels at the next step, the second at once."""

    def cancel(number: int, frame: object) -> None:
        host.cancel.set()
        signal.signal(signal.SIGINT, signal.default_int_handler)

    try:
        previous = signal.signal(signal.SIGINT, cancel)
    except ValueError:  # not in the main thread: whoever called decides about signals
        yield
        return
    try:
        yield
    finally:
        signal.signal(signal.SIGINT, previous)


if __name__ == "__main__":
    sys.exit(main())
