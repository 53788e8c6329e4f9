"""Cards to choose from, drawn in the browser."""

from __future__ import annotations

import param
from panel.custom import JSComponent


class Cards(JSComponent):
    """Theorems to choose from, as cards under the names of their chapters.

    Args:
        items: mappings with name, title, source and chapter.
        chosen: the name of one.
        verdicts: by name, `verified` or `refuted`.
    """

    items: list[dict[str, str]] = param.List([])  # ty: ignore[invalid-assignment]
    chosen: str = param.String("")  # ty: ignore[invalid-assignment]
    verdicts: dict[str, str] = param.Dict({})  # ty: ignore[invalid-assignment]

    _stylesheets = [
        """
        input { width: 100%; box-sizing: border-box; padding: 7px 10px; margin: 0 0 6px;
                border: 1px solid #b8c3cd; border-radius: 5px;
                font: .9rem system-ui, sans-serif; }
        .list { max-height: 68vh; overflow-y: auto; padding: 2px; }
        .chapter { font-weight: 650; font-size: .78rem; color: #55626f;
                   margin: 12px 0 4px; letter-spacing: .02em; }
        button { display: block; width: 100%; text-align: left; background: #fff;
                 border: 1px solid #d9e0e7; border-radius: 6px; padding: 8px 10px;
                 margin: 0 0 6px; cursor: pointer; font: .9rem system-ui, sans-serif;
                 color: #1c2733; line-height: 1.35; }
        button:hover { border-color: #0b5c9e; }
        button.chosen { border-color: #0b5c9e; box-shadow: inset 3px 0 #0b5c9e;
                        background: #f4f9fd; }
        .name { color: #55626f; font-size: .78rem; display: flex;
                justify-content: space-between; }
        .verified { color: #17633a; } .refuted { color: #9b1c1c; }
        .none { color: #55626f; font-size: .88rem; }
        """
    ]

    _esm = r"""
    export function render({model, el}) {
      const search = document.createElement('input');
      search.type = 'search';
      search.placeholder = 'Find a theorem, an author, a word';
      const list = document.createElement('div');
      list.className = 'list';
      el.append(search, list);
      function card(item) {
        const button = document.createElement('button');
        button.dataset.name = item.name;
        button.className = 'card' + (item.name === model.chosen ? ' chosen' : '');
        const title = document.createElement('div');
        title.textContent = item.title;
        const name = document.createElement('div');
        name.className = 'name';
        name.append(item.name);
        const verdict = model.verdicts[item.name];
        if (verdict) {
          const said = document.createElement('span');
          said.className = verdict;
          said.textContent = verdict;
          name.append(said);
        }
        button.append(title, name);
        button.onclick = () => { model.chosen = item.name; };
        return button;
      }
      function show() {
        const words = search.value.toLowerCase().split(/\s+/).filter(Boolean);
        const fits = (item) => {
          const text = Object.values(item).join(' ').toLowerCase();
          return words.every((word) => text.includes(word));
        };
        const place = list.scrollTop;
        list.replaceChildren();
        let chapter = null;
        for (const item of model.items.filter(fits)) {
          if (item.chapter !== chapter) {
            chapter = item.chapter;
            const heading = document.createElement('div');
            heading.className = 'chapter';
            heading.textContent = chapter;
            list.append(heading);
          }
          list.append(card(item));
        }
        if (chapter === null) {
          const none = document.createElement('div');
          none.className = 'none';
          none.textContent = 'No theorem has all of these words.';
          list.append(none);
        }
        list.scrollTop = place;
      }
      search.oninput = show;
      model.on('chosen', show);
      model.on('verdicts', show);
      show();
    }
    """
