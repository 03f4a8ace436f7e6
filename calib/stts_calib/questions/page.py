"""The report as one HTML page: no network, no script, pictures within."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from html import escape
from pathlib import Path

from stts_calib.questions.evaluate import QuestionEvaluation
from stts_calib.questions.pictures import strips
from stts_calib.questions.report import Changed, QuestionReport, SettingFound
from stts_runtime.bundle.manifest import Scorer
from stts_runtime.errors import SourceError
from stts_runtime.outputs import written_whole

_MOST_PICTURED = 50
_MOST_LISTED = 500
_STYLE = """
body{font:15px/1.45 system-ui,sans-serif;margin:2rem auto;max-width:70rem;padding:0 1rem;color:#1b1f24;background:#fff}
table{border-collapse:collapse;margin:.6rem 0 1.4rem}
th,td{padding:.25rem .7rem;text-align:left;border-bottom:1px solid #d8dee4;vertical-align:top}
td.n,th.n{text-align:right;font-variant-numeric:tabular-nums}
section{border-top:1px solid #d8dee4;padding:.8rem 0}
img{display:block;max-width:100%;margin:.15rem 0}
.right{color:#116329}.wrong{color:#a40e26}.small{color:#59636e;font-size:13px}
svg text{font:12px system-ui,sans-serif}
@media(prefers-color-scheme:dark){body{color:#e6edf3;background:#0d1117}th,td,section{border-color:#30363d}
.right{color:#57ab5a}.wrong{color:#f47067}.small{color:#9198a1}svg{color:#e6edf3}}
"""


def write_page(path: Path, report: QuestionReport, evaluation: QuestionEvaluation) -> None:
    """Writes the page. Of many questions with changed answers, the first have pictures."""
    with written_whole(path) as scratch:
        scratch.write_text("\n".join(_page(report, evaluation)), encoding="utf-8")


def _page(report: QuestionReport, evaluation: QuestionEvaluation) -> Iterator[str]:
    title = f"{escape(report.file)} to {escape(report.bundle)}"
    yield f'<!doctype html><html lang="en"><meta charset="utf-8"><title>{title}</title>'
    yield f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style><h1>{title}</h1>'
    yield f"<p>{report.questions} questions about {report.videos} videos, in the layout {escape(report.layout)}. "
    yield f"{_how(report)} Engine {escape(report.engine)}, {escape(report.created)}.</p>"
    if report.scorer is not None:
        yield f"<p>{_scored(report.scorer)}</p>"
    if report.random_weights:
        yield "<p><b>This checkpoint has random weights: its answers are noise.</b></p>"
    yield from _settings(report)
    yield from _differences(report)
    yield from _kinds(report)
    yield from _left_out(report)
    yield from _changed(report, evaluation)
    yield "</html>"


def _how(report: QuestionReport) -> str:
    ways = {
        "letters": "Options were listed with letters, and the likeliest letter counts",
        "texts": "Of options, the one whose text is likeliest counts",
        "generated": "Options were listed with letters, and the answer was written",
    }
    written = f"judged by <code>{escape(report.judge)}</code>" if report.judge else "right if they are the answer"
    return f"{ways[report.options]}; written answers are {written}."


def _scored(scorer: Scorer) -> str:
    if scorer.trained:
        return "The checkpoint's trained scorer chose what pruned settings kept."
    return "Pruned settings kept what changed since the frame before: no scorer was trained."


def _settings(report: QuestionReport) -> Iterator[str]:
    yield "<h2>Settings side by side</h2><table><tr><th>setting<th class=n>frames<th class=n>visual tokens"
    yield "<th class=n>right, %<th>95 % interval<th class=n>vision, ms<th class=n>video, ms</tr>"
    for one in report.settings:
        yield (
            f"<tr><td>{escape(one.setting)}<td class=n>{one.frames}<td class=n>{one.visual_tokens}"
            f"<td class=n>{one.right:.1f}<td>{_bar(one)}"
            f"<td class=n>{one.vision_ms:.1f}<td class=n>{one.clip_ms:.1f}</tr>"
        )
    yield "</table>"


def _bar(one: SettingFound) -> str:
    """A line from 0 to 100 % with the interval on it."""
    if one.interval is None:
        return "one video has none"
    low, high, value = (2 * place for place in (one.interval.low, one.interval.high, one.right))
    return (
        f'<svg width="320" height="16" role="img" aria-label="{one.interval.low:.1f} to {one.interval.high:.1f}">'
        f'<path d="M0 8H200" stroke="currentColor" opacity=".2"/>'
        f'<path d="M{low:.1f} 8H{high:.1f}" stroke="currentColor" stroke-width="3"/>'
        f'<circle cx="{value:.1f}" cy="8" r="4" fill="currentColor"/>'
        f'<text x="210" y="12" fill="currentColor">{one.interval.low:.1f} to {one.interval.high:.1f}</text></svg>'
    )


def _differences(report: QuestionReport) -> Iterator[str]:
    if not report.differences:
        return
    yield "<h2>Paired differences</h2><table><tr><th>setting<th>against<th class=n>points<th>95 % interval"
    yield "<th class=n>lost<th class=n>won</tr>"
    for one in report.differences:
        seen = f"{one.points.low:+.2f} to {one.points.high:+.2f}"
        interval = seen if one.unseen is None else f"none seen; up to {one.unseen:.1f} % of videos may differ"
        yield (
            f"<tr><td>{escape(one.setting)}<td>{escape(one.against)}<td class=n>{one.points.value:+.2f}<td>{interval}"
            f"<td class=n>{one.lost}<td class=n>{one.won}</tr>"
        )
    yield "</table><p class=small>Lost: questions that only the other answers right. Intervals count videos.</p>"


def _kinds(report: QuestionReport) -> Iterator[str]:
    if len(report.kinds) < 2:
        return
    yield "<h2>By kind, percent right</h2><table><tr><th>kind<th class=n>questions<th class=n>chance"
    yield "".join(f"<th class=n>{escape(one.setting)}" for one in report.settings) + "</tr>"
    for kind in report.kinds:
        chance = "" if kind.chance is None else f"{kind.chance:.1f}"
        yield f"<tr><td>{escape(kind.kind or 'none given')}<td class=n>{kind.questions}<td class=n>{chance}"
        yield "".join(f"<td class=n>{one.by_kind[kind.kind]:.1f}" for one in report.settings) + "</tr>"
    yield "</table>"


def _left_out(report: QuestionReport) -> Iterator[str]:
    if not report.left_out:
        return
    yield f"<h2>Questions that were not asked: {len(report.left_out)}</h2><table>"
    yield from (f"<tr><td>{escape(one.place)}<td>{escape(one.reason)}</tr>" for one in report.left_out[:_MOST_LISTED])
    yield "</table>"
    if len(report.left_out) > _MOST_LISTED:
        yield f"<p class=small>The first {_MOST_LISTED} are here; the JSON has all.</p>"


def _changed(report: QuestionReport, evaluation: QuestionEvaluation) -> Iterator[str]:
    count = len(report.changed)
    yield f"<h2>Answers that changed: {count} of {report.questions}</h2>"
    if not count:
        yield "<p>All settings gave the same answers.</p>"
    if count > _MOST_PICTURED:
        listed = min(count, _MOST_LISTED)
        yield f"<p class=small>{listed} are here, the first {_MOST_PICTURED} with pictures; the JSON has all.</p>"
    seen = {place: one for one in evaluation.seen for said in one.settings.values() for place in said.answers}
    for number, one in enumerate(report.changed[:_MOST_LISTED]):
        where = f"{escape(one.place)}, {escape(one.video)}"
        yield f"<section><b>{escape(one.question)}</b> <span class=small>{where}</span>"
        yield f"<p>Right: {escape(one.answer)}</p><table>"
        yield from _said(one)
        yield "</table>"
        if number < _MOST_PICTURED:
            yield from _pictures(evaluation, seen[one.place].clip, _shown(one))
        yield "</section>"


def _said(one: Changed) -> Iterator[str]:
    for setting, said in one.said.items():
        word = "right" if said.right else "wrong"
        likely = "" if said.probability is None else f"{100 * said.probability:.0f} %"
        yield f"<tr><td>{escape(setting)}<td>{escape(said.text)}<td class={word}>{word}<td class=n>{likely}</tr>"


def _shown(one: Changed) -> Sequence[str]:
    """The first setting, and the first of each other answer."""
    first: dict[str, str] = {}
    for setting, said in one.said.items():
        first.setdefault(said.text, setting)
    return list(first.values())


def _pictures(evaluation: QuestionEvaluation, clip: int, settings: Sequence[str]) -> Iterator[str]:
    seen = next(one for one in evaluation.seen if one.clip == clip)
    try:
        found = strips(evaluation, seen, settings)
    except SourceError as error:
        yield f"<p class=small>no pictures: {escape(str(error))}</p>"
        return
    for setting, url in found.items():
        yield f'<div class=small>{escape(setting)}<img alt="frames as {escape(setting)} keeps them" src="{url}"></div>'
