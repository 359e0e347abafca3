"""The command line: `varifold run GRAPH`, `train GRAPH`, `scale GRAPH`, `finalize FOLDER` and `studio`."""

from __future__ import annotations

import argparse
import asyncio
import os
import re
import signal
import sys
import traceback
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from .studio.errors import Cancelled, NodeError, SettingError, WorkflowError, describe
from .studio.host import StudioHost
from .studio.part import part_of
from .studio.terminal import Terminal

if TYPE_CHECKING:
    from .dataset.finalize import Finalized


def main(argv: Sequence[str] | None = None) -> int:
    """Returns the exit code: 0 done, 1 failed, 2 wrong usage, 130 cancelled."""
    parser = argparse.ArgumentParser(prog="varifold", description="Diffusion workflows without ComfyUI.")
    verbs = parser.add_subparsers(dest="verb", required=True, metavar="VERB")
    _add_run(verbs)
    _add_studio(verbs)
    _add_finalize(verbs)
    _add_scale(verbs)
    _add_train(verbs)
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
    _add_graph(run)
    run.add_argument(
        "--shard",
        metavar="i/N",
        type=_part,
        default=(0, 1),
        help="make part i of N (0 <= i < N) of a sweep, chunks i, i + N, ...; auto: as the variables of a Slurm job "
        "array or RANK and WORLD_SIZE say; auto/N: task or rank i of N",
    )
    run.set_defaults(act=_run)


def _add_graph(verb: argparse.ArgumentParser) -> None:
    verb.add_argument("graph", metavar="GRAPH", help="a workflow .json, or a .png made by one")
    verb.add_argument(
        "--set",
        metavar="NODE.INPUT=VALUE",
        action="append",
        default=[],
        dest="settings",
        help="change an input; NODE is an id, a title or a node type (can be repeated)",
    )
    verb.add_argument("--output", metavar="DIR", default="output", help="where results go (default: ./output)")
    verb.add_argument("--debug", action="store_true", help="show the Python traceback of an error")


def _add_train(verbs: argparse._SubParsersAction) -> None:
    train = verbs.add_parser(
        "train",
        help="train what a workflow trains",
        description="Run the training nodes of a workflow, or of a config: JSON with train (denoiser, autoencoder or "
        "gan), pictures and other inputs of these nodes. A training that was left goes on.",
        epilog="On several GPUs or machines: torchrun --nproc_per_node N -m varifold train GRAPH. Each takes its "
        "share of every batch.",
    )
    _add_graph(train)
    train.set_defaults(act=_train)


def _train(arguments: argparse.Namespace) -> int:
    from .models.train import ranks
    from .studio.runner import train_file

    here = ranks.join(StudioHost().device())
    first = here.rank == 0
    host = StudioHost(Terminal(sys.stderr) if first else lambda event, data: None)
    with _interrupt_sets(host):
        told = train_file(arguments.graph, arguments.settings, arguments.output, host)
    if first:
        print(*told, sep="\n")
    ranks.leave()
    return 0


def _add_studio(verbs: argparse._SubParsersAction) -> None:
    studio = verbs.add_parser(
        "studio",
        help="wire graphs in the browser",
        description="Serve ComfyUI's front end, with Varifold's nodes, on this machine.",
        epilog="The Studio has no passwords: whoever reaches it can use it. Behind the proxy of JupyterHub, Colab or "
        "Codespaces, name the host that the browser shows with --allow-host, and the path with --base-path if the "
        "proxy passes it on.",
    )
    studio.add_argument("--port", type=int, default=8188, help="port to listen on, 0 for any (default: 8188)")
    studio.add_argument("--no-browser", action="store_true", help="do not open the page")
    studio.add_argument(
        "--folder",
        metavar="DIR",
        type=Path,
        default=Path.home() / ".local/share/varifold",
        help="where pictures, workflows and settings are kept (default: ~/.local/share/varifold)",
    )
    studio.add_argument(
        "--listen",
        metavar="ADDRESS",
        type=_address,
        default="127.0.0.1",
        help="address to listen on; anything but the default lets other machines in (default: 127.0.0.1)",
    )
    studio.add_argument(
        "--allow-host",
        metavar="NAME",
        action="append",
        default=[],
        help="a name under which browsers may reach the Studio, beside this machine's own (can be repeated)",
    )
    studio.add_argument("--base-path", metavar="/PATH", type=_base_path, default="", help="path the page lies under")
    studio.add_argument("--frontend", metavar="DIR", type=Path, help="folder of another version of the front end")
    studio.set_defaults(act=_studio, debug=False)


def _address(text: str) -> str:
    if not text:  # as a shell gives it for a variable that is not set; it would mean everywhere
        raise argparse.ArgumentTypeError("there is no address; 0.0.0.0 listens everywhere")
    return text


def _base_path(text: str) -> str:
    path = text.strip("/")
    if not re.fullmatch(r"[\w.~/@:-]*", path):
        raise argparse.ArgumentTypeError(f"{text!r} is not a path of letters, digits and - . _ ~ @ :")
    return f"/{path}" if path else ""


def _studio(arguments: argparse.Namespace) -> int:
    try:
        from .studio.server.app import PortTaken, make_studio, serve
        from .studio.server.frontend import NoFrontend, find_frontend
    except ModuleNotFoundError as error:
        print(f"error: {error}: pip install 'varifold[studio]'", file=sys.stderr)
        return 1
    try:
        studio = make_studio(arguments.folder.expanduser().resolve(), find_frontend(arguments.frontend))
        browser = not arguments.no_browser
        options = {"allowed": arguments.allow_host, "base": arguments.base_path, "browser": browser}
        asyncio.run(serve(studio, arguments.listen, arguments.port, **options))
    except (PortTaken, NoFrontend, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


def _part(text: str) -> tuple[int, int]:
    try:
        return part_of(text, os.environ)
    except ValueError as error:
        raise argparse.ArgumentTypeError(str(error)) from None


def _add_finalize(verbs: argparse._SubParsersAction) -> None:
    completing = verbs.add_parser(
        "finalize",
        help="complete a data set",
        description="Merge the parts of a data set that several processes made, reject duplicates, split it and "
        "build its views. Can be repeated.",
    )
    completing.add_argument("folder", metavar="FOLDER", help="the folder of the set, for example output/my_set")
    completing.add_argument(
        "--partial", action="store_true", help="take what is there, though parts are missing or have not finished"
    )
    completing.set_defaults(act=_finalize, debug=False)


def _finalize(arguments: argparse.Namespace) -> int:
    from .dataset.errors import DatasetError
    from .dataset.finalize import finalize

    try:
        done = finalize(arguments.folder, partial=arguments.partial)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    _print_finalized(arguments.folder, done)
    return 0


def _print_finalized(folder: str | Path, done: Finalized) -> None:
    for view, remarks in done.views.remarks.items():
        print(os.path.join(folder, "views", view))
        for remark, times in remarks.items():
            print(f"  {remark}: {times}")
    for line in done.views.told:
        print(line)
    parts = f"; {done.parts} part{'' if done.parts == 1 else 's'} merged" if done.parts else ""
    print(f"{done.samples} samples and {done.rejected} rejected{parts}")
    if done.wanting:
        wanted = ", ".join(f"{count} of {name}" for name, count in done.wanting.items())
        print(f"the quotas still want {wanted}: `varifold run` without --shard draws them")


def _add_scale(verbs: argparse._SubParsersAction) -> None:
    scale = verbs.add_parser(
        "scale",
        help="make a data set with many workers",
        description="Make all parts of a sweep on workers of Ray, and complete its data set. Run again after whatever "
        "stopped it, it goes on where it was.",
        epilog="Needs Ray: pip install 'varifold[scale]'. On a cluster, the folders of GRAPH, of --output and the one "
        "this is run in must be shared by all machines, and Varifold be installed on each.",
    )
    _add_graph(scale)
    scale.add_argument(
        "--workers",
        metavar="N",
        type=_count,
        required=True,
        help="how many parts to make, each on one GPU where the cluster has any, else on one core",
    )
    scale.add_argument("--address", help="a Ray cluster to join, such as auto (default: one started on this machine)")
    scale.set_defaults(act=_scale)


def _count(text: str) -> int:
    if not text.isdecimal() or int(text) == 0:
        raise argparse.ArgumentTypeError(f"{text!r} is not a number from 1")
    return int(text)


def _scale(arguments: argparse.Namespace) -> int:
    from .dataset.errors import DatasetError
    from .studio.scale import scale

    def tell(line: str) -> None:
        print(line, file=sys.stderr, flush=True)

    given = (arguments.graph, arguments.settings, arguments.output, arguments.workers, arguments.address)
    host = StudioHost()
    try:
        with _interrupt_sets(host):
            sets = scale(*given, tell, host.check_cancelled)
    except DatasetError as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    for folder, done in sets.items():
        _print_finalized(folder, done)
    return 0


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
