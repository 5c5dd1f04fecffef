"""The command line: ``densekit VERB``, the same code as ``tools/VERB.py``.

Only the standard library is imported here, so that ``densekit --help`` answers at once; each verb imports what it
needs.
"""

from __future__ import annotations

import argparse
import logging
import os
import shlex
import sys
import traceback
from collections.abc import Callable, Sequence
from contextlib import closing
from pathlib import Path

from densekit import __version__
from densekit.errors import ConfigError, DensekitError, command_line, message_of
from densekit.tasks.base import whole_number

INTERRUPTED = 130


class _HelpFormatter(argparse.ArgumentDefaultsHelpFormatter):
    """Adds the default to an option's help where there is one to tell."""

    def _get_help_string(self, action: argparse.Action) -> str | None:
        told = action.default is not None and action.default is not False and action.default != []
        return super()._get_help_string(action) if told else action.help


def build_parser() -> argparse.ArgumentParser:
    """All verbs with their options."""
    parser = argparse.ArgumentParser(
        prog="densekit", description="Dense prediction for CT, MRI and images: train, score, predict."
    )
    parser.add_argument("--version", action="version", version=f"densekit {__version__}")
    verbs = parser.add_subparsers(dest="verb", metavar="VERB", required=True)
    for name, add, run, text in VERBS:
        verb = verbs.add_parser(name, help=text, description=text, formatter_class=_HelpFormatter)
        verb.add_argument("--debug", action="store_true", help="show the traceback of an error")
        add(verb)
        verb.set_defaults(run=run)
    return parser


@command_line()
def main(argv: Sequence[str] | None = None) -> int:
    """Run one verb.

    Returns:
        The exit status: 0 fine, 2 something the user can put right, 3 some cases failed, 130 Ctrl-C, 143 SIGTERM.
    """
    arguments = build_parser().parse_args(argv)
    # Set before torch is loaded. OpenMP's threads spin while they wait for each other; where data-loading processes
    # share the cores, as they do in every CPU training, the spinning made iterations over ten times slower.
    os.environ.setdefault("OMP_WAIT_POLICY", "PASSIVE")
    logging.basicConfig(format="%(message)s", level=logging.WARNING)
    logging.getLogger("densekit").setLevel(logging.DEBUG if arguments.debug else logging.INFO)
    # torchvision and MONAI announce optional parts they lack at import; densekit says what matters itself.
    logging.getLogger("torch").setLevel(logging.ERROR)
    logging.raiseExceptions = arguments.debug  # a log that cannot be written (disk full) prints no traceback
    try:
        status = arguments.run(arguments) or 0
        sys.stdout.flush()  # here, so that a reader who has gone is noticed below
        return status
    except DensekitError as error:
        if arguments.debug:
            traceback.print_exc()
        print(f"densekit {arguments.verb}: {message_of(error)}", file=sys.stderr)
        return error.exit_code
    except KeyboardInterrupt as error:
        if arguments.debug:
            traceback.print_exc()
        said, remedy = (
            str(error) or "stopped by Ctrl-C",
            "what is finished is complete on disk, nothing is half-written",
        )
        if folder := getattr(error, "folder", None):
            remedy = f"go on with: {_continuing(sys.argv[1:] if argv is None else argv, folder)}"
        if os.environ.get("RANK", "0") == "0":
            print(f"\ndensekit {arguments.verb}: {said}; {remedy}", file=sys.stderr)
        return getattr(error, "exit_code", INTERRUPTED)
    except BrokenPipeError:
        # The reader of our output (head, less) has gone: not an error. Python would complain again when it flushes at
        # exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0


def _continuing(argv: Sequence[str], folder: Path) -> str:
    """The command that goes on with a training that was started by ``argv`` in ``folder``."""
    given, kept = list(argv), []
    while given:
        word = given.pop(0)
        name, sign, _ = word.partition("=")
        if len(name) > len("--l") and any(o.startswith(name) for o in ("--work-dir", "--load-from")):
            given = given if sign else given[1:]
        elif not (len(name) > len("--") and "--resume".startswith(name)):
            kept.append(word)
    start = ["densekit"]
    if "LOCAL_WORLD_SIZE" in os.environ:
        start = ["torchrun", f"--nproc_per_node={os.environ['LOCAL_WORLD_SIZE']}", "-m", "densekit.cli"]
    return shlex.join([*start, *kept, "--work-dir", str(folder), "--resume"])


# --- train ------------------------------------------------------------------------------------------------------------
def _add_train(p: argparse.ArgumentParser) -> None:
    p.add_argument("config", help="config file, or the name of one of the package, e.g. dformer_synapse")
    p.add_argument(
        "--data",
        metavar="PATH",
        help="prepared folder of volumes, or images with boxes or masks, of any layout; replaces data_root",
    )
    p.add_argument("--work-dir", metavar="PATH", help="where to write (default: runs/<config>/<time>)")
    p.add_argument(
        "--resume",
        action="store_true",
        help="continue from last.pth of --work-dir or the newest run; a larger max_epochs trains on",
    )
    p.add_argument("--load-from", metavar="FILE", help="start from the weights of this checkpoint")
    p.add_argument("--seed", type=whole_number, help="replaces the config's seed")
    p.add_argument("--deterministic", action="store_true", help="only deterministic kernels")
    p.add_argument("--amp", choices=("bf16", "fp16"), help="mixed precision")
    p.add_argument(
        "--dry-run",
        action="store_true",
        help="two steps on the largest batch: memory, time per epoch, parameters without gradient; nothing is written",
    )
    p.add_argument(
        "--launcher",
        choices=("none", "pytorch"),
        default="none",
        help="pytorch: started by torchrun, one process per GPU",
    )
    _add_task_options(p, "train")
    _add_options(p)


def _train(a: argparse.Namespace) -> int:
    from densekit import tasks

    run = {"load_from": a.load_from, "seed": a.seed, "deterministic": a.deterministic, "amp": a.amp}
    run |= _task_options(a, "train")
    if a.dry_run:
        unused = {"--resume": a.resume, "--launcher": a.launcher != "none", "--work-dir": a.work_dir}
        if any(unused.values()):
            given = " and ".join(option for option, value in unused.items() if value)
            raise ConfigError(f"--dry-run tries a new run in one process and writes nothing: leave {given} out")
        report = tasks.dry_run(a.config, data=a.data, options=a.cfg_options, **run)
        width = max(len(name) for name, _ in report.table())
        print("\n".join(f"{name:<{width}}  {value}" for name, value in report.table()))
        return 2 if report.problems else 0
    run |= {"work_dir": a.work_dir, "resume": a.resume, "launcher": a.launcher}
    tasks.train(a.config, data=a.data, options=a.cfg_options, **run)
    return 0


# --- test -------------------------------------------------------------------------------------------------------------
def _add_test(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "model",
        nargs="+",
        metavar="CHECKPOINT",
        help="best.pth or last.pth; a config before it stands in for what the checkpoint carries",
    )
    p.add_argument("--data", metavar="PATH", help="data set; replaces the one it was trained on")
    p.add_argument(
        "--split", help="split to score (default: test for volumes, where several are joined by +; val for images)"
    )
    p.add_argument(
        "--out",
        metavar="PATH",
        help="folder for the scores, and of images a report (default: test_CHECKPOINT_SPLIT beside it)",
    )
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    _add_task_options(p, "test")
    _add_options(p)


def _test(a: argparse.Namespace) -> int:
    from densekit import tasks

    if len(a.model) > 2:
        raise ConfigError(f"expected a checkpoint, or a config and a checkpoint, not {len(a.model)} files")
    *config, checkpoint = a.model
    from densekit.progress import Counter

    with closing(Counter("cases")) as progress:
        table = tasks.test(
            checkpoint,
            config=config[0] if config else None,
            data=a.data,
            split=a.split,
            out=a.out,
            device=a.device,
            options=a.cfg_options,
            progress=progress,
            **_task_options(a, "test"),
        )
    print(table.render())
    return 3 if table.failures else 0


# --- predict ----------------------------------------------------------------------------------------------------------
def _add_predict(p: argparse.ArgumentParser) -> None:
    p.add_argument("checkpoint", help="best.pth; it carries the preprocessing, no config is needed")
    p.add_argument(
        "inputs", nargs="+", help="volumes (.nii .nii.gz .nrrd .mha), images or videos; files, folders or globs"
    )
    p.add_argument("--out", metavar="PATH", default="predictions", help="where to write")
    p.add_argument("--device", default="auto", help="auto, cpu, cuda, cuda:1 ...")
    p.add_argument("--overwrite", action="store_true", help="replace predictions that are already there")
    _add_task_options(p, "predict")


def _predict(a: argparse.Namespace) -> int:
    from densekit import tasks

    options = _task_options(a, "predict")
    return tasks.predict(a.checkpoint, a.inputs, a.out, device=a.device, overwrite=a.overwrite, **options).exit_status


# --- prepare ----------------------------------------------------------------------------------------------------------
def _add_prepare(p: argparse.ArgumentParser) -> None:
    from densekit.tasks.base import all_tasks

    kinds = [kind for task in all_tasks().values() for kind in task.kinds]
    p.add_argument("kind", choices=kinds, help="what the raw data are; phantom makes some")
    p.add_argument("raw", help="folder of the raw data (phantom: the folder to make)")
    p.add_argument("out", nargs="?", help="prepared folder, e.g. data/synapse (not for phantom)")
    _add_task_options(p, "prepare")


def _prepare(a: argparse.Namespace) -> int:
    from densekit import tasks

    return tasks.prepare(a.kind, a.raw, a.out, **_task_options(a, "prepare"))


# --- check, models, config, demo, doctor ------------------------------------------------------------------------------
def _add_check(p: argparse.ArgumentParser) -> None:
    p.add_argument("path", help="prepared folder of volumes, raw volumes (say --kind), or images with boxes or masks")
    p.add_argument("--task", help="kind of data, if it is not recognised by itself: volume, segmentation, detection")
    p.add_argument("--json", metavar="FILE", help="write the findings there as well")
    _add_task_options(p, "check")


def _check(a: argparse.Namespace) -> int:
    from densekit import tasks

    return tasks.check(a.path, task=a.task, json_path=a.json, **_task_options(a, "check"))


def _add_models(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "name",
        nargs="?",
        help="a part, optimizer, schedule or transform of densekit, MMDetection, MMSegmentation, timm or MONAI: print "
        "what it is and its arguments; or a pattern in quotes ('convnext*')",
    )
    p.add_argument(
        "--assemble",
        nargs="+",
        metavar="PART",
        help="backbone, necks if any, and head (convnext_tiny vwformer): do they fit, what does it cost, its config",
    )
    p.add_argument("--size", nargs="+", type=int, default=[512], help="with --assemble: sides of the image or window")
    p.add_argument("--classes", type=int, default=150, help="with --assemble: number of classes")


def _models(a: argparse.Namespace) -> int:
    if a.assemble is not None:
        if a.name is not None:
            raise ConfigError(f"models {a.name} --assemble: one question at a time; leave one of them out")
        from densekit.tasks.assembled import print_assembled

        return print_assembled(a.assemble, size=a.size, num_classes=a.classes)
    if a.name is not None:
        from densekit.tasks.lookup import print_name

        return print_name(a.name)
    from densekit.models.listing import print_models

    return print_models()


def _add_config(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "name",
        nargs="?",
        help="a config, or a task for all its keys with their defaults; without a name those of the package are listed",
    )
    _add_options(p)


def _config(a: argparse.Namespace) -> int:
    from densekit.tasks.config import print_config

    return print_config(a.name, a.cfg_options)


def _add_demo(p: argparse.ArgumentParser) -> None:
    p.add_argument("--work-dir", default="runs/demo", help="where to write")
    p.add_argument("--seed", type=whole_number, default=0, help="of the phantoms and of the training")
    p.add_argument("--epochs", type=int, help="train shorter or longer than the demo's config says")


def _demo(a: argparse.Namespace) -> int:
    from densekit.demo import demo

    return demo(Path(a.work_dir), seed=a.seed, epochs=a.epochs)


def _add_doctor(p: argparse.ArgumentParser) -> None:
    del p  # no options of its own


def _doctor(a: argparse.Namespace) -> int:
    from densekit.doctor import doctor

    return doctor()


def _add_options(p: argparse.ArgumentParser) -> None:
    p.add_argument(
        "--cfg-options",
        nargs="+",
        default=[],
        metavar="KEY=VALUE",
        help="override keys of the config, e.g. optimizer.lr=0.02",
    )


def _add_task_options(p: argparse.ArgumentParser, verb: str) -> None:
    """The options that single tasks have, in a group for each."""
    from densekit.tasks.base import all_tasks

    known: set[str] = set()
    for task in all_tasks().values():
        about = f"for a checkpoint that {task.does}" if verb in ("test", "predict") else f"task {task.name}"
        group = p.add_argument_group(about)
        for option in task.options.get(verb, ()):
            if option.flag not in known:  # tasks may have options of one name
                group.add_argument(option.flag, help=option.says, **option.more)
            known.add(option.flag)


def _task_options(a: argparse.Namespace, verb: str) -> dict[str, object]:
    from densekit.tasks.base import all_tasks

    options = [option for task in all_tasks().values() for option in task.options.get(verb, ())]
    return {option.name: getattr(a, option.name) for option in options}


VERBS: list[tuple[str, Callable, Callable, str]] = [
    ("train", _add_train, _train, "Train a network from a config and a data set."),
    ("test", _add_test, _test, "Score a checkpoint on a split: scans on their own grids (Dice), images (AP, mIoU)."),
    (
        "predict",
        _add_predict,
        _predict,
        "Predict volumes (label maps on the input's grid, in ml) or images (boxes, classes of pixels); a report.",
    ),
    ("prepare", _add_prepare, _prepare, "Bring raw data into the form that training reads, or make phantoms."),
    ("check", _add_check, _check, "Is this data set sound?"),
    ("config", _add_config, _config, "Print a config with all keys, to start one's own from."),
    ("models", _add_models, _models, "List the registered networks and parts."),
    ("demo", _add_demo, _demo, "Phantoms, a small D-Former, scores, a prediction and a report, in a few minutes."),
    ("doctor", _add_doctor, _doctor, "Versions, the device that will be used, and what does not fit together."),
]


if __name__ == "__main__":
    sys.exit(main())
