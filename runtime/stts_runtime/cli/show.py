"""What people read on a terminal. Text from models and files is shown without control characters."""

from __future__ import annotations

import json
import sys
from collections.abc import Sequence
from typing import Final

from rich.console import Console
from rich.table import Table

from stts_runtime.bundle import Bundle
from stts_runtime.bundle.manifest import Graph, Graphs, Scorer
from stts_runtime.cli.options import BundleArgument, JsonOption
from stts_runtime.cli.text import printable
from stts_runtime.passports import Passport, verified_engines
from stts_runtime.proof.finding import Finding, Status, missed_of
from stts_runtime.records import Answer
from stts_runtime.text import counted

# Off a terminal, tables are as wide as they need to be.
_PIPED_WIDTH = 150


class _Console(Console):
    def on_broken_pipe(self) -> None:
        """Rich would end the program with code 1; see `run_app`."""
        raise BrokenPipeError


console = _Console(highlight=False, width=None if sys.stdout.isatty() else _PIPED_WIDTH)
errors = Console(stderr=True, highlight=False)


def show_note(text: str) -> None:
    errors.print(f"note: {text}", markup=False, soft_wrap=True)


def show_answer(answer: Answer, to: Console = console) -> None:
    tokens, spent = answer.tokens, answer.milliseconds
    to.print(
        f"[bold]{printable(answer.source)}[/bold]  {answer.window.frames} frames over "
        f"{answer.window.duration_seconds:.1f} s, {answer.variant}: kept {tokens.visual_kept} of {tokens.visual_in} "
        f"visual tokens",
        soft_wrap=True,
    )
    to.print(f"  question  {printable(answer.question)}", soft_wrap=True)
    to.print(f"  answer    [bold]{printable(answer.answer)}[/bold]", soft_wrap=True)
    for point in answer.points:
        name = f"{printable(point.name)} " if point.name else ""
        to.print(f"  point     {name}at {point.x:.1%} from the left, {point.y:.1%} from the top, {point.seconds:g} s")
    if answer.choices is not None:
        likely = ", ".join(f"{choice} {share:.3f}" for choice, share in answer.choices.probabilities.items())
        to.print(f"  choices   {printable(likely)}; together {answer.choices.covered:.3f}", soft_wrap=True)
    if answer.logprobs is not None:
        tokens_said = ", ".join(f"{json.dumps(one.token)} {one.logprob:.3f}" for one in answer.logprobs)
        to.print(f"  logprobs  {printable(tokens_said)}", soft_wrap=True)
    if answer.structured is not None:
        cost = answer.structured
        to.print(
            f"  schema    {cost.milliseconds_per_token:.3f} ms a token, {cost.masked_tokens} of {tokens.generated} "
            "tokens were not the likeliest",
            soft_wrap=True,
        )
    reused = " (video reused)" if answer.reused_prefix else ""
    to.print(
        f"  ms        read {spent.read:.1f}, vision {spent.vision:.1f}, prefill {spent.prefill_video:.1f} + "
        f"{spent.prefill_question:.1f}, decode {spent.decode:.1f} for {counted(tokens.generated, 'token')}, "
        f"total {spent.total:.1f}{reused}",
        soft_wrap=True,
    )
    for note in answer.notes:
        to.print(f"  note      {printable(note)}", soft_wrap=True)


def show_bundle(bundle: Bundle, engines: Sequence[Passport]) -> None:
    manifest = bundle.manifest
    console.print(
        f"[bold]{printable(str(bundle.folder))}[/bold]  from {printable(manifest.checkpoint)}, "
        f"{printable(manifest.producer)}, {printable(manifest.created)}",
        soft_wrap=True,
    )
    vision = manifest.vision
    console.print(
        f"  frames {vision.image_size}x{vision.image_size}, {vision.groups} groups of {vision.pool}x{vision.pool} "
        f"patches; up to {manifest.max_fps:g} frames a second; default keep {manifest.default_keep:g}; "
        f"positions {manifest.prompt.positions}",
        soft_wrap=True,
    )
    if manifest.scorer is not None:
        console.print(f"  {scored_by(manifest.scorer)}", soft_wrap=True)
    if manifest.random_weights:
        console.print("  note: the checkpoint has random weights: its answers are noise")
    if manifest.live is not None:
        console.print(f"  {at_once(bundle)}", soft_wrap=True)
    console.print(_variants(bundle))
    console.print(_files(bundle))
    if engines:
        console.print(_engines(engines))


def at_once(bundle: Bundle) -> str:
    """How many streams go through the engines together."""
    sizes = [one.size for one in bundle.manifest.language.batches]
    if not sizes:
        return "streams go through the engines one at a time: the bundle was built without graphs for several (--batch)"
    return f"streams go through the engines up to {max(sizes)} at a time"


def scored_by(scorer: Scorer) -> str:
    """What chooses groups, and whether it was trained for that."""
    layer = "" if scorer.prune_at is None else f", at layer {scorer.prune_at}"
    if scorer.trained:
        return f"scored by the checkpoint's trained scorer{layer}"
    return f"scored without training, by what changed since the frame before{layer}"


def _variants(bundle: Bundle) -> Table:
    manifest = bundle.manifest
    table = Table("part", "frames", "keep", "visual tokens", "GMAC", "graphs", title="vision and language")
    for name, variant in manifest.variants.items():
        table.add_row(
            f"{name} (control)" if variant.is_control else name,
            str(variant.frames),
            f"{variant.keep:g}",
            f"{variant.kept_groups} of {manifest.budget(variant).visual_tokens}",
            _giga_macs(variant.graphs),
            _graphs(variant.graphs),
        )
    for name, frame in manifest.live.variants.items() if manifest.live else ():
        kept = f"{frame.kept_groups} of {manifest.vision.groups}"
        table.add_row(f"{name} (stream)", "1", f"{frame.keep:g}", kept, _giga_macs(frame.graphs), _graphs(frame.graphs))
    graphs = manifest.language.graphs
    macs = f"{_first(graphs).multiplications.per_token / 1e9:.3g} a token"
    table.add_row("language", "", "", f"context {manifest.language.context}", macs, _graphs(graphs))
    return table


def _giga_macs(graphs: Graphs) -> str:
    return f"{_first(graphs).multiplications.fixed / 1e9:.3g}"


def _first(graphs: Graphs) -> Graph:
    return next(iter(graphs.values()))


def _graphs(graphs: Graphs) -> str:
    """Each lowering with its precision, or what it was quantized to, and opset."""
    return printable(
        ", ".join(f"{name} {one.quantized or one.precision} (opset {one.opset})" for name, one in graphs.items())
    )


def _files(bundle: Bundle) -> Table:
    table = Table("file", "MB", "SHA-256", title="files, all verified")
    for name, record in sorted(bundle.manifest.files.items()):
        table.add_row(name, f"{record.size_bytes / 1e6:.2f}", record.sha256[:16])
    return table


def _engines(engines: Sequence[Passport]) -> Table:
    table = Table("engine", "flavour", "for", "compiled with", "graph", "MB", title="compiled engines, all verified")
    for one in engines:
        place = f"Jetson Linux {one.l4t}" if one.l4t else one.platform
        precision = f"{one.lowering} {one.precision}"
        size = f"{one.plan_bytes / 1e6:.2f}"
        table.add_row(one.part, one.flavour, ", ".join(one.architectures), f"{one.version}, {place}", precision, size)
    return table


_COLOURS: Final[dict[Status, str]] = {"ok": "green", "missed": "bold red", "note": "cyan", "not run": "yellow"}


def coloured(status: Status) -> str:
    return f"[{_COLOURS[status]}]{status}[/]"


def show_verdict(findings: Sequence[Finding], what: str) -> None:
    """The last line; `what` says what they were compared on or with."""
    missed = len(missed_of(findings))
    not_run = sum(finding.status == "not run" for finding in findings)
    # Written out, since troubleshooting has it as it is printed.
    several = "1 bar missed" if missed == 1 else f"{missed} bars missed"
    verdict = several if missed else "every bar is kept"
    if not_run:
        verdict += f", {counted(not_run, 'comparison')} not run"
    console.print(f"{verdict}; {printable(what)}", soft_wrap=True)


def inspect_command(bundle: BundleArgument, as_json: JsonOption = False) -> None:
    """Verify every file of a bundle, compiled engines included, and list what it holds."""
    opened = Bundle.open(bundle)
    opened.verify_all()
    engines = verified_engines(opened)
    if as_json:
        passports = [passport.model_dump() for passport in engines]
        print(
            json.dumps({"bundle": str(bundle), "verified": True, **opened.manifest.model_dump(), "engines": passports})
        )
    else:
        show_bundle(opened, engines)
