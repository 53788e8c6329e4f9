"""Formulas, drawn in the browser by KaTeX."""

from __future__ import annotations

import param
from panel.custom import JSComponent


class Formulas(JSComponent):
    """Formulas under headings, each with what copies it.

    Args:
        rows: mappings with section, latex, text, remark, python and toml; or
            prose, which is text with formulas between dollars.
        status: what is being done, or what went wrong.
        busy: whether more is to come.
    """

    rows: list[dict[str, str]] = param.List([])  # ty: ignore[invalid-assignment]
    status: str = param.String("")  # ty: ignore[invalid-assignment]
    busy: bool = param.Boolean(False)  # ty: ignore[invalid-assignment]

    _stylesheets = [
        """
        .section { font-weight: 650; font-size: .95rem; margin: 16px 0 2px;
                   color: #1c2733; }
        .row { display: flex; align-items: center; gap: 10px; padding: 4px 0;
               border-bottom: 1px solid #eaeff3; }
        .formula { flex: 1; min-width: 0; overflow-x: auto; overflow-y: hidden;
                   font-size: 1.06em; padding: 3px 0; }
        .prose { max-width: 75ch; line-height: 1.5; font-size: .92rem; }
        .prose p { margin: 4px 0; }
        .remark { color: #55626f; font-size: .88rem; white-space: pre-wrap; }
        .status { color: #55626f; font-size: .88rem; height: 1.4em; display: flex;
                  align-items: center; gap: 8px; }
        .status.busy::before { content: ''; width: 10px; height: 10px;
                  border-radius: 50%; border: 2px solid #b9c6d2;
                  border-top-color: #0b5c9e; animation: turn .8s linear infinite; }
        @keyframes turn { to { transform: rotate(360deg); } }
        .copy { display: flex; flex: none; border: 1px solid #d9e0e7;
                border-radius: 5px; overflow: hidden; }
        .copy:not(:hover):not(:focus-within) { border-color: #e6ebf0; }
        button { border: 0; border-left: 1px solid #e6ebf0; background: #fff;
                 color: #55626f; cursor: pointer; font: .74rem system-ui, sans-serif;
                 padding: 3px 7px; min-width: 4.2em; }
        button:first-child { border-left: 0; }
        button:hover, button:focus-visible { background: #eaf2f9; color: #0b5c9e;
                 outline: none; }
        @media (max-width: 900px) {
          .row { flex-wrap: wrap; }
          .formula { flex-basis: 100%; }
        }
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
    // Text with formulas between dollars; everything else in it is text.
    function prose(text) {
      const all = document.createElement('div');
      all.className = 'prose';
      for (const paragraph of text.split(/\n\s*\n|\n(?=- )/)) {
        const line = document.createElement('p');
        for (const part of paragraph.split(/(\$\$[^$]+\$\$|\$[^$]+\$)/)) {
          if (!part.startsWith('$')) {
            line.append(part.replace(/[*`]/g, ''));
            continue;
          }
          const math = document.createElement('span');
          katex.render(part.replace(/^\$+|\$+$/g, ''), math,
                       {output: 'html', throwOnError: false,
                        displayMode: part.startsWith('$$')});
          line.append(math);
        }
        all.append(line);
      }
      return all;
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
      if (row.prose) formula.append(prose(row.prose));
      if (row.latex) {
        const math = document.createElement('div');
        math.dataset.latex = row.latex;
        katex.render('\\displaystyle ' + row.latex, math,
                     {output: 'html', throwOnError: false});
        formula.append(math);
      }
      line.append(formula);
      const copy = document.createElement('div');
      copy.className = 'copy';
      const forms = {LaTeX: row.latex, SymPy: row.text, Python: row.python,
                     TOML: row.toml};
      for (const [said, text] of Object.entries(forms))
        if (text) copy.append(copier(said, text));
      if (copy.children.length) line.append(copy);
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
      let shown = [], section = null;
      // Rows arrive one by one: those that stand there stay as they are.
      function show() {
        const rows = model.rows.map((row) => JSON.stringify(row));
        if (shown.some((row, i) => row !== rows[i])) {
          list.replaceChildren();
          shown = [];
          section = null;
        }
        for (const row of model.rows.slice(shown.length)) {
          if (row.section !== section) {
            section = row.section;
            const heading = document.createElement('div');
            heading.className = 'section';
            heading.textContent = section;
            list.append(heading);
          }
          list.append(drawn(row));
        }
        shown = rows;
      }
      function say() {
        status.textContent = model.status;
        status.classList.toggle('busy', model.busy);
      }
      model.on('rows', show);
      model.on('status', say);
      model.on('busy', say);
      show(); say();
    }
    """
