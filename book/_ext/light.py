"""Make the built pages light: of the theme's styles, of its icons and of the fonts they load what they use.

A local Sphinx extension, loaded by ``local_extensions`` in ``_config.yml``.
"""

from __future__ import annotations

import io
import logging
import re
import unicodedata
from collections.abc import Iterable, Iterator
from html import unescape
from importlib.resources import files
from itertools import pairwise
from pathlib import Path
from typing import Any

import tinycss2
from fontTools import subset
from fontTools.ttLib import TTFont
from joblib import Memory
from sphinx.application import Sphinx

# A megabyte of icons, which the theme's own style sheet draws as well, from a font.
ICONS_SCRIPT = re.compile(
    r'\s*<!-- So that users can add custom icons -->\s*<script src="[^"]*/fontawesome\.js[^"]*"></script>'
)
ICON = re.compile("[\ue000-\uf8ff]")
ICON_FONT = re.compile(r'url\((\S+?)\.woff2\) format\("woff2"\),url\(\1\.ttf\) format\("truetype"\)')
WORD = re.compile(r"[\w-]+")
FORMULA = re.compile(r"<math.*?</math>", flags=re.S)
TAG = re.compile(r"<[^>]*>")
PRIMES = (0x2032, 0x2033, 0x2034)
ROOT_SIGNS = "√‾ℎ"  # what browsers draw for roots, and the h that Unicode has elsewhere


def lighten(app: Sphinx, error: Exception | None) -> None:
    """Rewrite what pages load. Sphinx copies the theme's files anew in every build, so a class that returns has its style."""
    if error or app.builder.format != "html":
        return
    static = Path(app.outdir, "_static")
    pages = "".join(map(without_icons_script, Path(app.outdir).rglob("*.html")))
    scripts = [path for path in static.rglob("*.js") if path.stem != "fontawesome"]
    words = set(WORD.findall("".join([pages, *(path.read_text("utf-8") for path in scripts)])))
    made = Memory(Path(app.doctreedir, "light", app.config["kadam_ext"]), verbose=0)  # each edit would have the same made again
    styles = {path: path.read_text("utf-8") for path in static.rglob("*.css")}
    styles = {path: made.cache(lighter)(style, words & {*WORD.findall(style)}) for path, style in styles.items()}
    icons = {ord(sign) for style in styles.values() for sign in ICON.findall(style)}
    for path, style in styles.items():
        path.write_text(ICON_FONT.sub(r'url(\1.woff) format("woff")', style), "utf-8")
    for path in static.rglob("webfonts/*.ttf"):
        path.with_suffix(".woff").write_bytes(made.cache(cut)(path.read_bytes(), icons))
    whole = (files("ziamath.fonts") / "STIXTwoMath-Regular.ttf").read_bytes()
    (static / "formulas.woff").write_bytes(made.cache(cut_for_formulas)(whole, {*map(ord, signs(pages))}))


def without_icons_script(page: Path) -> str:
    """A page's text, from which the script is gone then, in its file too."""
    text = page.read_text("utf-8")
    if (light := ICONS_SCRIPT.sub("", text)) != text:
        page.write_text(light, "utf-8")
    return light


def lighter(style: str, words: set[str]) -> str:
    """A style sheet without the selectors that ask for a class which none of the words names."""
    return "".join(_kept(tinycss2.parse_stylesheet(style, skip_comments=True, skip_whitespace=True), words))


def _kept(rules: Iterable[Any], words: set[str]) -> Iterator[str]:
    for rule in rules:
        if rule.type == "qualified-rule":
            selectors = [one for one in _separated(rule.prelude) if words.issuperset(_classes(one))]
            if selectors:
                yield f"{','.join(tinycss2.serialize(one).strip() for one in selectors)}{{{tinycss2.serialize(rule.content)}}}"
        elif rule.type == "at-rule" and rule.lower_at_keyword in ("media", "supports", "container"):
            inner = tinycss2.parse_rule_list(rule.content, skip_comments=True, skip_whitespace=True)
            if held := "".join(_kept(inner, words)):
                yield f"@{rule.at_keyword}{tinycss2.serialize(rule.prelude)}{{{held}}}"
        else:
            yield rule.serialize()


def _separated(prelude: Iterable[Any]) -> list[list[Any]]:
    """The selectors between the commas."""
    found: list[list[Any]] = [[]]
    for token in prelude:
        if token == ",":
            found.append([])
        else:
            found[-1].append(token)
    return found


def _classes(selector: list[Any]) -> list[str]:
    """The classes that it asks for; those inside ``:not(...)`` and its like are no condition here."""
    return [name.value for dot, name in pairwise(selector) if dot == "." and name.type == "ident"]


def signs(pages: str) -> set[str]:
    """What formulas are written with, and the italics in which browsers set its letters."""
    written = {*unescape(TAG.sub("", "".join(FORMULA.findall(pages)))), *ROOT_SIGNS}
    italics = {sign for sign in map(chr, range(0x1D434, 0x1D7CC)) if "MATHEMATICAL ITALIC" in unicodedata.name(sign, "")}
    return written | {sign for sign in italics if unicodedata.normalize("NFKC", sign) in written}


def cut(font: bytes, codes: set[int]) -> bytes:
    """Of a font these signs alone, with all that they grow to."""
    return _cut(TTFont(io.BytesIO(font)), codes)


def cut_for_formulas(font: bytes, codes: set[int]) -> bytes:
    """The same of the font of formulas."""
    return _cut(fitted(TTFont(io.BytesIO(font))), codes)


def _cut(font: TTFont, codes: Iterable[int]) -> bytes:
    logging.getLogger("fontTools.subset").setLevel(logging.WARNING)  # it tells every step
    options = subset.Options(flavor="woff", hinting=False, layout_features=["*"])
    cutter = subset.Subsetter(options)
    cutter.populate(unicodes=[*codes])
    cutter.subset(font)
    with io.BytesIO() as file:
        subset.save_font(font, file, options)
        return file.getvalue()


def fitted(font: TTFont) -> TTFont:
    """The font of formulas as Chromium wants it.

    That leaves room for the widest of a root's signs behind every root, so all become as wide as the smallest; and it does not
    ask for the primes that are drawn to be raised.
    """
    glyphs, metrics = font["glyf"], font["hmtx"]
    for name in [name for name in font.getGlyphOrder() if name.startswith("uni221A.")]:
        glyphs[name].coordinates.scale((metrics["uni221A"][0] / metrics[name][0], 1))
        glyphs[name].recalcBounds(glyphs)
        metrics[name] = (metrics["uni221A"][0], glyphs[name].xMin)
    raised = {code: f"{font.getBestCmap()[code]}.ssty" for code in PRIMES}
    for table in font["cmap"].tables:
        table.cmap.update(raised)
    return font


def setup(app: Sphinx) -> dict[str, bool]:
    """Register the step with Sphinx, after all others that write files."""
    app.connect("build-finished", lighten, priority=900)
    return {"parallel_read_safe": True, "parallel_write_safe": True}
