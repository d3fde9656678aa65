/* A globe, or a flat map, painted pixel by pixel from a texture; lines and marks on top. */
"use strict";

function makeGlobe(canvas, texture, coast, colors) {
  const context = canvas.getContext("2d"), rad = Math.PI / 180;
  const view = { lon: 12, lat: 20, zoom: 1, flat: false };
  let source = texture, marks = [], timer = 0, wanted = false, buffer = null;

  function size() {
    const ratio = Math.min(2, window.devicePixelRatio || 1);
    const [w, h] = [Math.round(canvas.clientWidth * ratio), Math.round(canvas.clientHeight * ratio)];
    if (w !== canvas.width || h !== canvas.height) { canvas.width = w; canvas.height = h; }
    const radius = view.flat
      ? Math.min(w / 2 / Math.PI, h / Math.PI) * 0.98 * view.zoom
      : Math.min(w, h) * 0.455 * view.zoom;
    return { w, h, ratio, radius, x: w / 2, y: h / 2 };
  }

  /* Degrees to pixels; the third number is below 0 behind the horizon. */
  function project(lon, lat, s) {
    const l = ((lon - view.lon + 540) % 360) - 180;
    if (view.flat) return [s.x + l * rad * s.radius, s.y - (lat - view.lat) * rad * s.radius, 1];
    const cos = Math.cos(lat * rad), sin = Math.sin(lat * rad);
    const c0 = Math.cos(view.lat * rad), s0 = Math.sin(view.lat * rad), depth = cos * Math.cos(l * rad);
    return [
      s.x + s.radius * cos * Math.sin(l * rad),
      s.y - s.radius * (sin * c0 - depth * s0),
      sin * s0 + depth * c0,
    ];
  }

  /* Pixels to degrees; null beside the globe. */
  function invert(px, py) {
    const s = size(), x = (px * s.ratio - s.x) / s.radius, y = (s.y - py * s.ratio) / s.radius;
    if (view.flat) {
      const lat = view.lat + y / rad, lon = x / rad;
      return Math.abs(lat) > 90 || Math.abs(lon) > 180 ? null : [wrap(view.lon + lon), lat];
    }
    const z2 = 1 - x * x - y * y;
    if (z2 < 0) return null;
    const z = Math.sqrt(z2), c0 = Math.cos(view.lat * rad), s0 = Math.sin(view.lat * rad);
    const lat = Math.asin(Math.max(-1, Math.min(1, y * c0 + z * s0))) / rad;
    return [wrap(view.lon + Math.atan2(x, z * c0 - y * s0) / rad), lat];
  }

  function paint(fine) {
    const s = size(), step = fine ? 1 : 2, { w, h } = s;
    const bw = Math.ceil(w / step), bh = Math.ceil(h / step);
    if (!buffer || buffer.width !== bw || buffer.height !== bh) buffer = new ImageData(bw, bh);
    const out = new Uint32Array(buffer.data.buffer), { width: tw, height: th, pixels } = source;
    out.fill(0);
    const c0 = Math.cos(view.lat * rad), s0 = Math.sin(view.lat * rad), kx = tw / 360, ky = th / 180;
    for (let j = 0; j < bh; j++) {
      const y = (s.y - (j + 0.5) * step) / s.radius;
      for (let i = 0; i < bw; i++) {
        const x = ((i + 0.5) * step - s.x) / s.radius;
        let lon, lat, light = 1;
        if (view.flat) {
          lat = view.lat + y / rad; lon = x / rad;
          if (lat > 90 || lat < -90 || lon > 180 || lon < -180) continue;
        } else {
          const z2 = 1 - x * x - y * y;
          if (z2 < 0) continue;
          const z = Math.sqrt(z2);
          lat = Math.asin(y * c0 + z * s0) / rad;
          lon = Math.atan2(x, z * c0 - y * s0) / rad;
          light = 0.42 + 0.58 * Math.min(1, z * 0.85 + 0.25 + 0.12 * (y - x));
        }
        let tx = Math.floor((lon + view.lon + 180) * kx) % tw;
        if (tx < 0) tx += tw;
        const ty = Math.max(0, Math.min(th - 1, Math.floor((90 - lat) * ky)));
        const c = pixels[ty * tw + tx];
        out[j * bw + i] = 0xff000000 | (((c >> 16) & 255) * light) << 16 |
          (((c >> 8) & 255) * light) << 8 | ((c & 255) * light);
      }
    }
    return { s, step };
  }

  function line(points, s) {
    let drawn = false, before = 0;
    for (let k = 0; k < points.length; k += 2) {
      const [x, y, z] = project(points[k], points[k + 1], s);
      // On a flat map a line that wraps around would cross it.
      const jump = view.flat && drawn && Math.abs(x - before) > s.radius;
      if (z <= 0) drawn = false;
      else if (drawn && !jump) context.lineTo(x, y);
      else { context.moveTo(x, y); drawn = true; }
      before = x;
    }
  }

  const graticule = [];
  for (let lon = -180; lon < 180; lon += 30)
    graticule.push(Float32Array.from({ length: 122 }, (_, i) => (i % 2 ? -90 + (i >> 1) * 3 : lon)));
  for (let lat = -60; lat <= 60; lat += 30)
    graticule.push(Float32Array.from({ length: 242 }, (_, i) => (i % 2 ? lat : -180 + (i >> 1) * 3)));

  function draw(fine) {
    const { s, step } = paint(fine), small = draw.canvas || (draw.canvas = document.createElement("canvas"));
    small.width = buffer.width; small.height = buffer.height;
    small.getContext("2d").putImageData(buffer, 0, 0);
    context.clearRect(0, 0, s.w, s.h);
    if (!view.flat) {
      const glow = context.createRadialGradient(s.x, s.y, s.radius * 0.96, s.x, s.y, s.radius * 1.16);
      glow.addColorStop(0, colors.glow); glow.addColorStop(1, colors.sky);
      context.fillStyle = glow;
      context.beginPath(); context.arc(s.x, s.y, s.radius * 1.16, 0, 7); context.fill();
    }
    context.imageSmoothingEnabled = true;
    context.drawImage(small, 0, 0, buffer.width * step, buffer.height * step);
    if (!view.flat) {
      // A rim over the stair steps of the last pixels.
      context.strokeStyle = colors.rim; context.lineWidth = 1.6 * s.ratio;
      context.beginPath(); context.arc(s.x, s.y, s.radius, 0, 7); context.stroke();
    }
    context.lineJoin = "round";
    context.strokeStyle = colors.graticule; context.lineWidth = 0.6 * s.ratio;
    context.beginPath(); for (const one of graticule) line(one, s); context.stroke();
    context.strokeStyle = colors.coast; context.lineWidth = 0.8 * s.ratio;
    context.beginPath(); for (const one of coast) line(one, s); context.stroke();
    for (const mark of marks) {
      const [x, y, z] = project(mark.lon, mark.lat, s), r = s.ratio;
      if (z <= 0.02) continue;
      context.beginPath();
      if (mark.number) {
        context.arc(x, y, 9 * r, 0, 7); context.fillStyle = colors.mark; context.fill();
        context.fillStyle = colors.ink; context.font = `600 ${10.5 * r}px system-ui, sans-serif`;
        context.textAlign = "center"; context.textBaseline = "middle";
        context.fillText(mark.number, x, y + 0.5 * r);
      } else {
        context.arc(x, y, 8 * r, 0, 7); context.lineWidth = 4.5 * r;
        context.strokeStyle = "rgba(0,0,0,.55)"; context.stroke();
        context.lineWidth = 2.4 * r; context.strokeStyle = colors.here; context.stroke();
        context.beginPath(); context.arc(x, y, 2.2 * r, 0, 7); context.fillStyle = colors.here; context.fill();
      }
    }
  }

  /* Coarse at once, fine when nothing moves any more. */
  function refresh() {
    if (!wanted) {
      wanted = true;
      requestAnimationFrame(() => { wanted = false; draw(false); });
    }
    clearTimeout(timer);
    timer = setTimeout(() => draw(true), 140);
  }

  function turn(dx, dy) {
    const s = size(), scale = s.ratio / s.radius / rad;
    view.lon = wrap(view.lon - dx * scale);
    const limit = view.flat ? Math.max(0, 90 - s.h / 2 / s.radius / rad) : 90;
    view.lat = Math.max(-limit, Math.min(limit, view.lat + dy * scale));
    refresh();
  }

  function zoom(factor) {
    view.zoom = Math.max(1, Math.min(8, view.zoom * factor));
    turn(0, 0);
  }

  let flight = 0;
  function fly(lon, lat) {
    cancelAnimationFrame(flight);
    const from = [view.lon, view.lat], start = performance.now();
    const way = ((lon - from[0] + 540) % 360) - 180;
    const step = (now) => {
      const t = Math.min(1, Math.max(0, (now - start) / 650)), e = t * t * (3 - 2 * t);
      view.lon = wrap(from[0] + way * e); view.lat = from[1] + (lat - from[1]) * e;
      turn(0, 0);
      if (t < 1) flight = requestAnimationFrame(step);
    };
    if (matchMedia("(prefers-reduced-motion: reduce)").matches) {
      [view.lon, view.lat] = [lon, lat];
      turn(0, 0);
    } else flight = requestAnimationFrame(step);
  }

  return {
    view, invert, refresh, turn, zoom, fly,
    stop: () => cancelAnimationFrame(flight),
    show(next) { source = next; refresh(); },
    mark(next) { marks = next; refresh(); },
    flatten(flat) { view.flat = flat; view.zoom = 1; if (flat) view.lat = 0; turn(0, 0); },
  };
}

function wrap(lon) {
  return ((((lon + 180) % 360) + 360) % 360) - 180;
}
