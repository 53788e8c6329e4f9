"""Points, rods and clouds that move in the plane, drawn in the browser."""

from __future__ import annotations

from typing import Any

import param
from panel.custom import JSComponent


class Mechanism(JSComponent):
    """Points and rods in the plane, moving in real time.

    Args:
        frames: of each moment the points, (x, y) each.
        rods: pairs of points that a line joins; -1 is the origin.
        cloud: of each of some moments, evenly spaced, the last point of every member of
            an ensemble, (x, y) each.
        duration: of all frames together (s).
        size: half the width that is seen, in units of x and y.
    """

    frames: list[Any] = param.List([])  # ty: ignore[invalid-assignment]
    rods: list[Any] = param.List([])  # ty: ignore[invalid-assignment]
    cloud: list[Any] = param.List([])  # ty: ignore[invalid-assignment]
    duration: float = param.Number(1.0)  # ty: ignore[invalid-assignment]
    size: float = param.Number(1.0)  # ty: ignore[invalid-assignment]

    _stylesheets = [
        """
        .stage { position: relative; width: 340px; margin: 5px 10px; }
        canvas { border: 1px solid #e6ebf0; border-radius: 6px; background: #fcfdfe; }
        .time { position: absolute; left: 10px; bottom: 8px; color: #55626f;
                font-size: .8rem; font-variant-numeric: tabular-nums; }
        button { position: absolute; right: 8px; bottom: 8px; border: 1px solid #d9e0e7;
                 border-radius: 5px; background: #fff; color: #55626f; cursor: pointer;
                 font: .78rem system-ui, sans-serif; padding: 2px 9px; }
        """
    ]

    _esm = """
    const COLOURS = ['#0072b2', '#d55e00', '#009e73', '#cc79a7', '#e69f00', '#56b4e9'];
    export function render({model, el}) {
      const stage = document.createElement('div'), said = document.createElement('div');
      const canvas = document.createElement('canvas');
      const hold = document.createElement('button');
      stage.className = 'stage';
      said.className = 'time';
      hold.textContent = 'pause';
      const width = 340, ratio = window.devicePixelRatio || 1;
      canvas.width = canvas.height = width * ratio;
      canvas.style.width = canvas.style.height = width + 'px';
      canvas.className = 'mechanism';
      stage.append(canvas, said, hold);
      el.append(stage);
      const pen = canvas.getContext('2d');
      pen.scale(ratio, ratio);
      let last = performance.now(), since = 0, held = false, drawn = 0;
      hold.onclick = () => {
        held = !held;
        hold.textContent = held ? 'play' : 'pause';
      };
      function at([x, y]) {
        const scale = width / 2 / (1.1 * model.size);
        return [width / 2 + scale * x, width / 2 - scale * y];
      }
      function disc(point, radius) {
        pen.beginPath();
        pen.arc(...at(point), radius, 0, 7);
        pen.fill();
      }
      function draw(now) {
        if (!canvas.isConnected) return;
        if (!held) since += (now - last) / 1000;
        last = now;
        const frames = model.frames;
        pen.clearRect(0, 0, width, width);
        if (frames.length) {
          const share = (since / model.duration) % 1;
          const k = Math.floor(share * frames.length);
          const points = frames[k];
          said.textContent = 't = ' + (share * model.duration).toFixed(2);
          if (model.cloud.length) {
            pen.fillStyle = '#0072b244';
            const m = Math.floor(share * model.cloud.length);
            for (const point of model.cloud[m]) disc(point, 2);
          }
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
            disc(point, 6);
          });
          canvas.dataset.drawn = ++drawn;
          canvas.dataset.cloud = model.cloud.length ? model.cloud[0].length : 0;
        }
        requestAnimationFrame(draw);
      }
      model.on('frames', () => { since = 0; });
      requestAnimationFrame(draw);
    }
    """
