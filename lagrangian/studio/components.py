"""Parts of the page that are drawn in the browser: formulas, and a mechanism."""

from __future__ import annotations

from html import escape
from typing import Any

import param
from panel.custom import JSComponent

#: Of the page: no fonts or files from elsewhere.
STYLE = """
:host, body { font-family: system-ui, sans-serif; }
h1 { font-weight: 600; margin: 0; }
pre { margin: 4px 0; font-size: .85em; }
pre.mistake { color: #a11; white-space: pre-wrap; }
pre.motion, pre.verdict { color: #345; white-space: pre-wrap; font-family: inherit; }
"""


class Formulas(JSComponent):
    """Formulas under headings, each with what copies it.

    Args:
        rows: mappings with section, latex, text and remark.
        status: what is being done, or what went wrong.
    """

    rows: list[dict[str, str]] = param.List([])  # ty: ignore[invalid-assignment]
    status: str = param.String("")  # ty: ignore[invalid-assignment]

    _stylesheets = [
        """
        .section { font-weight: 600; margin: 14px 0 2px; color: #234; }
        .row { display: flex; align-items: center; gap: 8px; padding: 3px 0;
               border-bottom: 1px solid #eef1f4; }
        .formula { flex: 1; overflow-x: auto; font-size: 1.1em; padding: 2px 0; }
        .remark { color: #555; font-size: .92em; white-space: pre-wrap; }
        .status { color: #777; font-style: italic; min-height: 1.4em; }
        button { border: 1px solid #ccd; background: #fafbfc; border-radius: 4px;
                 color: #456; cursor: pointer; font-size: .75em; padding: 2px 6px; }
        button:hover { background: #eef3f8; }
        """
    ]

    _esm = r"""
    function copier(said, text) {
      const button = document.createElement('button');
      button.textContent = said;
      button.title = 'copy as ' + said;
      button.onclick = async () => {
        await navigator.clipboard.writeText(text);
        button.textContent = 'copied';
        setTimeout(() => button.textContent = said, 900);
      };
      return button;
    }
    function drawn(row) {
      const line = document.createElement('div');
      line.className = 'row';
      const formula = document.createElement('div');
      formula.className = 'formula';
      if (row.remark) {
        const remark = document.createElement('div');
        remark.className = 'remark';
        remark.textContent = row.remark;
        formula.append(remark);
      }
      if (row.latex) {
        const math = document.createElement('div');
        math.dataset.latex = row.latex;
        katex.render('\\displaystyle ' + row.latex, math,
                     {output: 'html', throwOnError: false});
        formula.append(math);
      }
      line.append(formula);
      if (row.latex) line.append(copier('LaTeX', row.latex));
      if (row.text) line.append(copier('SymPy', row.text));
      return line;
    }
    // Once for the page, which knows the fonts; the style again in every shadow root.
    function typesetter() {
      window.lagrangianTypesetter ??= new Promise((done) => {
        document.head.append(sheet());
        const script = document.createElement('script');
        script.src = '/katex/katex.min.js';
        script.onload = done;
        document.head.append(script);
      });
      return window.lagrangianTypesetter;
    }
    function sheet() {
      const link = document.createElement('link');
      link.rel = 'stylesheet';
      link.href = '/katex/katex.min.css';
      return link;
    }
    export async function render({model, el}) {
      await typesetter();
      el.append(sheet());
      const status = document.createElement('div');
      status.className = 'status';
      const list = document.createElement('div');
      list.className = 'formulas';
      el.append(status, list);
      function show() {
        const parts = [];
        let section = null;
        for (const row of model.rows) {
          if (row.section !== section) {
            section = row.section;
            const heading = document.createElement('div');
            heading.className = 'section';
            heading.textContent = section;
            parts.push(heading);
          }
          parts.push(drawn(row));
        }
        list.replaceChildren(...parts);
      }
      function say() { status.textContent = model.status; }
      model.on('rows', show);
      model.on('status', say);
      show(); say();
    }
    """


class Mechanism(JSComponent):
    """Points and rods in the plane, moving in real time.

    Args:
        frames: of each moment the points, (x, y) each.
        rods: pairs of points that a line joins; -1 is the origin.
        duration: of all frames together (s).
        size: half the width that is seen, in units of x and y.
    """

    frames: list[Any] = param.List([])  # ty: ignore[invalid-assignment]
    rods: list[Any] = param.List([])  # ty: ignore[invalid-assignment]
    duration: float = param.Number(1.0)  # ty: ignore[invalid-assignment]
    size: float = param.Number(1.0)  # ty: ignore[invalid-assignment]

    _esm = """
    const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
    export function render({model, el}) {
      const canvas = document.createElement('canvas');
      const width = 340, ratio = window.devicePixelRatio || 1;
      canvas.width = canvas.height = width * ratio;
      canvas.style.width = canvas.style.height = width + 'px';
      canvas.className = 'mechanism';
      el.append(canvas);
      const pen = canvas.getContext('2d');
      pen.scale(ratio, ratio);
      let start = performance.now(), drawn = 0;
      function at([x, y]) {
        const scale = width / 2 / (1.1 * model.size);
        return [width / 2 + scale * x, width / 2 - scale * y];
      }
      function draw(now) {
        if (!canvas.isConnected) return;
        const frames = model.frames;
        pen.clearRect(0, 0, width, width);
        if (frames.length) {
          const share = ((now - start) / 1000 / model.duration) % 1;
          const k = Math.floor(share * frames.length);
          const points = frames[k];
          pen.lineWidth = 1;
          points.forEach((_, i) => {
            pen.strokeStyle = COLOURS[i % COLOURS.length] + '88';
            pen.beginPath();
            for (let j = Math.max(0, k - 150); j <= k; j++)
              pen.lineTo(...at(frames[j][i]));
            pen.stroke();
          });
          pen.strokeStyle = '#555';
          pen.lineWidth = 2;
          for (const [i, j] of model.rods) {
            pen.beginPath();
            pen.moveTo(...at(i < 0 ? [0, 0] : points[i]));
            pen.lineTo(...at(j < 0 ? [0, 0] : points[j]));
            pen.stroke();
          }
          points.forEach((point, i) => {
            pen.fillStyle = COLOURS[i % COLOURS.length];
            pen.beginPath();
            pen.arc(...at(point), 6, 0, 7);
            pen.fill();
          });
          canvas.dataset.drawn = ++drawn;
        }
        requestAnimationFrame(draw);
      }
      model.on('frames', () => { start = performance.now(); });
      requestAnimationFrame(draw);
    }
    """


def preformatted(text: str, kind: str = "mistake") -> str:
    """A text in HTML as it stands; whatever was typed is text in it."""
    return f'<pre class="{kind}">{escape(text)}</pre>'
