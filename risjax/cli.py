"""The command line: `main`, which ``python run.py`` and ``risjax`` call.

Exit codes: 0 all stages done; 1 a stage failed or a check of ``verify`` did; 2 the command or the
configuration cannot be used (nothing was written); 130 interrupted by Ctrl-C.
"""

import argparse
import difflib
import io
import os
import shlex
import sys
from collections.abc import Sequence
from typing import TYPE_CHECKING, NoReturn

import risjax
from risjax.runs.allocator import keep_freed_memory

if TYPE_CHECKING:
    from risjax.config.root import Config

_DESCRIPTION = """\
Learns near-field covariances of a reconfigurable intelligent surface and localises with them.

A configuration lists the stages to run (search, train, evaluate, report, ...). They write to one run
directory, by default runs/<name of the configuration>. The same command again resumes an interrupted run
and does not repeat completed stages.
"""

_EPILOG = """\
examples:
  %(prog)s --config quick.yaml                        minutes on two CPU cores: search, train, evaluate, report
  %(prog)s --config quick.yaml train.epochs=3         one setting changed
  %(prog)s --config quick.yaml 'stages=[evaluate, report]' run.directory=runs/a
                                                      lists in quotes, because of the shell
  %(prog)s --config quick.yaml physics=original       a profile of configs/physics
  %(prog)s --config quick.yaml 'evaluate.sources[0].scenes=1000'
                                                      one entry of a list
  %(prog)s --config quick.yaml run.fresh=true         move the old run directory aside, start again
  %(prog)s --config predict.yaml data.path=measurements.mat
                                                      localise with a released network
  %(prog)s --config wide.yaml --print-config          what would run, every setting resolved

exit codes: 0 done, 1 a stage or a check failed, 2 unusable command or configuration (nothing is written),
130 interrupted.
"""


class _Parser(argparse.ArgumentParser):
    """argparse with a suggestion for an unknown flag."""

    def error(self, message: str) -> NoReturn:
        if message.startswith("unrecognized arguments: "):
            message += _flag_hint(
                message.removeprefix("unrecognized arguments: ").split()[0], self._option_string_actions
            )
        print(f"error: {message}\n{self.format_usage()}see {self.prog} --help", file=sys.stderr)
        sys.exit(2)


def main(argv: Sequence[str] | None = None) -> int:
    """Runs one command.

    Args:
        argv: the arguments, without the program's name; None takes the process's.

    Returns:
        The exit code.
    """
    keep_freed_memory()
    for stream in (sys.stdout, sys.stderr):  # a terminal without Unicode shows a ?
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="replace")
    parser = _parser()
    arguments = parser.parse_intermixed_args(argv)
    if arguments.config is None:
        from risjax.config.documents import shipped_configs

        parser.error(f"--config NAME.yaml is missing; there are {', '.join(shipped_configs())}")
    # --help and a wrong flag are answered without the schema and pydantic
    from risjax.registry import RegistryError

    try:
        from risjax.config.errors import ConfigError
        from risjax.config.io import load_config, to_yaml
    except RegistryError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    from risjax.runs.compile_cache import cache_text

    try:
        config = load_config(arguments.config, arguments.overrides)
        if arguments.print_config:
            print(f"{to_yaml(config)}# {cache_text(config.run.compile_cache)}")
            return 0
    except ConfigError as error:
        print(f"error: {error}", file=sys.stderr)
        return 2
    except BrokenPipeError:  # the reader of --print-config has closed its end
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return 0
    return _run(config, quiet=arguments.quiet, resume=_resume_command(parser.prog, arguments, config))


def _run(config: "Config", *, quiet: bool, resume: str) -> int:
    """Run the stages of a configuration; jax is imported where a stage needs it."""
    from risjax.config.errors import ConfigError
    from risjax.config.secrets import mask
    from risjax.runs.jax_settings import JaxSettingsError
    from risjax.runs.run_directory import RunDirectoryError
    from risjax.runs.terminal import Terminal
    from risjax.stages import StageError, run_stages

    terminal = Terminal(quiet=quiet)
    try:
        return run_stages(config, terminal, resume)
    except (RunDirectoryError, ConfigError, JaxSettingsError) as error:
        print(f"error: {mask(str(error))}", file=sys.stderr)
        return 2
    except StageError as error:
        print(f"error: {mask(str(error))}\nto resume: {resume}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"\ninterrupted; to resume: {resume}", file=sys.stderr)
        return 130


def _parser() -> _Parser:
    program = os.path.basename(sys.argv[0])
    program = f"python {program}" if program.endswith(".py") else "risjax"
    parser = _Parser(
        prog=program,
        usage="%(prog)s --config NAME.yaml [section.key=value ...] [--print-config] [--quiet]",
        description=_DESCRIPTION,
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
        allow_abbrev=False,
    )
    parser.add_argument(
        "--config",
        metavar="NAME.yaml",
        help="a file; a bare name is looked up in the working directory, then among the shipped configs",
    )
    parser.add_argument("overrides", metavar="section.key=value", nargs="*", help="settings that win over the file's")
    parser.add_argument("--print-config", action="store_true", help="print the resolved configuration and stop")
    parser.add_argument("--quiet", action="store_true", help="no progress; only warnings and the closing summary")
    parser.add_argument("--version", action="version", version=f"risjax {risjax.__version__}")
    return parser


def _flag_hint(word: str, known: object) -> str:
    flag, equals, _ = word.partition("=")
    if "." in flag and equals:
        return f"; settings take no dashes: {word.lstrip('-')}"
    close = difflib.get_close_matches(flag, list(known), n=1, cutoff=0.6)  # type: ignore[call-overload]
    return f"; did you mean {close[0]}?" if close else ""


def _resume_command(program: str, arguments: argparse.Namespace, config: "Config") -> str:
    """The command that resumes the run: the same arguments without ``run.fresh``."""
    from risjax.config.secrets import mask

    overrides = list(arguments.overrides)
    if config.run.fresh:
        overrides = [text for text in overrides if text.partition("=")[0].strip() != "run.fresh"] + ["run.fresh=false"]
    words = ["--config", arguments.config, *overrides, *(["--quiet"] if arguments.quiet else [])]
    return f"{program} {shlex.join(map(mask, words))}"
