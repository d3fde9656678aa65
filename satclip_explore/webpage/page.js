/* The page: a click on the globe, the numbers of the place, what is like it, and where. */
"use strict";

(function () {
  const facts = JSON.parse(document.getElementById("facts").textContent);
  const $ = (id) => document.getElementById(id);
  const encoder = makeEncoder(facts, floats(facts.weights, facts.weight_bits));
  const mean = floats(facts.mean, 32), spread = floats(facts.spread, 32);
  const grid = readGrid(), ground = readGround();
  const coast = readCoast();
  const here = { lon: facts.start[0], lat: facts.start[1] };
  let globe, colors, layer = "colors", nearest = [];

  /* Vectors of the land, a row of int8 each, and the places that they are of. */
  function readGrid() {
    const places = new Int16Array(bytes(facts.grid.places).buffer);
    const vectors = new Int8Array(bytes(facts.grid.vectors).buffer);
    const n = places.length / 2, D = encoder.dim, length = new Float64Array(n);
    for (let i = 0; i < n; i++) {
      let sum = 0;
      for (let d = 0; d < D; d++) sum += vectors[i * D + d] ** 2;
      length[i] = Math.sqrt(sum) || 1;
    }
    return { n, vectors, length, lon: (i) => places[2 * i] / 100, lat: (i) => places[2 * i + 1] / 100 };
  }

  /* Codes of countries every half degree, 0 at sea; run by run: how many, which. */
  function readGround() {
    const runs = new Uint16Array(bytes(facts.ground.runs).buffer);
    const codes = new Uint8Array(720 * 360);
    let at = 0;
    for (let i = 0; i < runs.length; i += 2) {
      codes.fill(runs[i + 1], at, at + runs[i]);
      at += runs[i];
    }
    return (lon, lat) => codes[Math.min(359, Math.floor((90 - lat) * 2)) * 720 +
      Math.floor((wrap(lon) + 180) * 2) % 720];
  }

  function readCoast() {
    const points = new Int16Array(bytes(facts.coast.points).buffer), lines = [];
    let at = 0;
    for (const length of facts.coast.lengths) {
      lines.push(Float32Array.from(points.subarray(at, at + 2 * length), (v) => v / 100));
      at += 2 * length;
    }
    return lines;
  }

  function name(lon, lat) {
    return facts.ground.names[ground(lon, lat)] || "Open ocean";
  }

  function degrees(lon, lat) {
    const one = (v, signs) => `${Math.abs(v).toFixed(2)}° ${signs[v < 0 ? 1 : 0]}`;
    return `${one(lat, "NS")}, ${one(lon, "EW")}`;
  }

  function kilometers(lon, lat, lon2, lat2) {
    const r = Math.PI / 180, s = (v) => Math.sin((v * r) / 2) ** 2;
    const h = s(lat2 - lat) + Math.cos(lat * r) * Math.cos(lat2 * r) * s(lon2 - lon);
    return 2 * 6371.0088 * Math.asin(Math.sqrt(Math.min(1, h)));
  }

  /* Cosine of the chosen place with every place of the grid. */
  function compare(vector) {
    const D = encoder.dim, out = new Float32Array(grid.n);
    let sum = 0;
    for (let d = 0; d < D; d++) sum += vector[d] ** 2;
    const own = Math.sqrt(sum);
    for (let i = 0; i < grid.n; i++) {
      let dot = 0;
      for (let d = 0, k = i * D; d < D; d++, k++) dot += vector[d] * grid.vectors[k];
      out[i] = dot / (own * grid.length[i]);
    }
    return out;
  }

  const SCALE = ["#15384a", "#17525c", "#2a7c6b", "#71a95a", "#d2c24f", "#fff3b0"].map((hex) =>
    [1, 3, 5].map((i) => parseInt(hex.slice(i, i + 2), 16)));

  const SHADES = Uint32Array.from({ length: 256 }, (_, n) => {
    const x = (n / 256) * (SCALE.length - 1), k = Math.floor(x);
    const [r, g, b] = SCALE[k].map((v, i) => v + (SCALE[k + 1][i] - v) * (x - k));
    return 0xff000000 | b << 16 | g << 8 | r;
  });

  /* For every half degree of land: the four places of the grid around it, and their weights. */
  const around = (function () {
    const step = facts.grid.step, w = Math.round(360 / step), h = Math.round(180 / step);
    const cell = new Int32Array(w * h).fill(-1), pixel = [], places = [], weights = [];
    for (let i = 0; i < grid.n; i++)
      cell[Math.floor((90 - grid.lat(i)) / step) * w + Math.floor((grid.lon(i) + 180) / step)] = i;
    for (let j = 0; j < 360; j++)
      for (let i = 0; i < 720; i++) {
        if (!ground(-180 + (i + 0.5) / 2, 90 - (j + 0.5) / 2)) continue;
        const x = (i + 0.5) / 2 / step - 0.5, y = (j + 0.5) / 2 / step - 0.5, found = [];
        for (let corner = 0; corner < 4; corner++) {
          const cx = Math.floor(x) + (corner & 1), cy = Math.floor(y) + (corner >> 1);
          const place = cell[Math.max(0, Math.min(h - 1, cy)) * w + ((cx % w) + w) % w];
          if (place >= 0) found.push([place, (1 - Math.abs(x - cx)) * (1 - Math.abs(y - cy)) + 1e-9]);
        }
        const total = found.reduce((sum, one) => sum + one[1], 0);
        if (!found.length) continue;
        pixel.push(j * 720 + i);
        for (let k = 0; k < 4; k++) {
          places.push(k < found.length ? found[k][0] : 0);
          weights.push(k < found.length ? found[k][1] / total : 0);
        }
      }
    return { pixel: Int32Array.from(pixel), places: Int32Array.from(places), weights: Float32Array.from(weights) };
  })();

  /* A texture of likeness: between the grid's places on land, one color at sea. */
  function likeness(cosine) {
    const sorted = Float32Array.from(cosine).sort(), { pixel, places, weights } = around;
    const low = sorted[Math.floor(0.03 * grid.n)], high = sorted[Math.floor(0.997 * grid.n)];
    const pixels = new Uint32Array(720 * 360).fill(facts.sea), scale = 255 / (high - low || 1);
    for (let p = 0, k = 0; p < pixel.length; p++, k += 4) {
      const value = weights[k] * cosine[places[k]] + weights[k + 1] * cosine[places[k + 1]] +
        weights[k + 2] * cosine[places[k + 2]] + weights[k + 3] * cosine[places[k + 3]];
      pixels[pixel[p]] = SHADES[Math.max(0, Math.min(255, Math.round((value - low) * scale)))];
    }
    return { width: 720, height: 360, pixels, low, high };
  }

  /* The most alike places that are far enough from the chosen one and from one another. */
  function neighbors(cosine) {
    const far = +$("far").value, order = Array.from(cosine.keys()).sort((a, b) => cosine[b] - cosine[a]);
    const found = [];
    for (const i of order) {
      const [lon, lat] = [grid.lon(i), grid.lat(i)];
      if (kilometers(here.lon, here.lat, lon, lat) < far) continue;
      if (found.some((one) => kilometers(one.lon, one.lat, lon, lat) < 400)) continue;
      found.push({ lon, lat, cosine: cosine[i], number: String(found.length + 1) });
      if (found.length === 8) break;
    }
    return found;
  }

  function bars(vector) {
    const canvas = $("bars"), ratio = Math.min(2, window.devicePixelRatio || 1);
    canvas.width = canvas.clientWidth * ratio; canvas.height = canvas.clientHeight * ratio;
    const context = canvas.getContext("2d"), D = vector.length;
    const step = canvas.width / D, middle = canvas.height / 2;
    const style = getComputedStyle(document.documentElement);
    const [up, down] = [style.getPropertyValue("--accent"), style.getPropertyValue("--cool")];
    for (let d = 0; d < D; d++) {
      const z = Math.max(-3, Math.min(3, (vector[d] - mean[d]) / (spread[d] || 1)));
      context.fillStyle = z > 0 ? up : down;
      context.globalAlpha = 0.35 + 0.65 * Math.min(1, Math.abs(z) / 2);
      const length = (Math.abs(z) / 3) * middle;
      context.fillRect(d * step, z > 0 ? middle - length : middle, Math.max(step * 0.78, 0.8), length);
    }
    context.globalAlpha = 1;
  }

  function row(one) {
    const button = document.createElement("button");
    button.className = "row";
    const part = (kind, text) => {
      const span = document.createElement("span");
      span.className = kind;
      span.textContent = text;
      button.append(span);
      return span;
    };
    part("number", one.number);
    part("where", name(one.lon, one.lat));
    part("cosine", one.cosine.toFixed(2));
    part("detail", `${degrees(one.lon, one.lat)} · ${Math.round(
      kilometers(here.lon, here.lat, one.lon, one.lat)).toLocaleString("en")} km away`);
    part("bar", "").style.setProperty("--share", Math.max(0, one.cosine));
    button.addEventListener("click", () => globe.fly(one.lon, one.lat));
    button.addEventListener("dblclick", () => choose(one.lon, one.lat));
    return button;
  }

  function choose(lon, lat) {
    const start = performance.now();
    here.lon = wrap(lon); here.lat = Math.max(-90, Math.min(90, lat));
    const vector = encoder.embed(here.lon, here.lat);
    const cosine = compare(vector);
    here.vector = vector;
    here.cosine = cosine;
    nearest = neighbors(cosine);
    $("name").textContent = name(here.lon, here.lat);
    $("at").textContent = degrees(here.lon, here.lat);
    bars(vector);
    $("list").replaceChildren(...nearest.map(row));
    globe.mark([...nearest].reverse().concat([{ lon: here.lon, lat: here.lat }]));
    paint();
    here.took = performance.now() - start;
    $("took").textContent = `${Math.max(1, Math.round(here.took))} ms`;
  }

  function paint() {
    if (layer === "colors") { globe.show(colors); return; }
    const alike = likeness(here.cosine);
    $("low").textContent = alike.low.toFixed(2);
    $("high").textContent = alike.high.toFixed(2);
    globe.show(alike);
  }

  function pressed(group, value) {
    for (const button of document.querySelectorAll(`[data-group="${group}"]`))
      button.setAttribute("aria-pressed", String(button.value === value));
  }

  function show(next) {
    layer = next;
    pressed("layer", next);
    document.body.dataset.layer = next;
    paint();
  }

  function listen(canvas) {
    const pointers = new Map();
    let moved = 0, gap = 0;
    const apart = () => {
      const [a, b] = [...pointers.values()];
      return Math.hypot(a.x - b.x, a.y - b.y);
    };
    canvas.addEventListener("pointerdown", (e) => {
      canvas.setPointerCapture(e.pointerId);
      pointers.set(e.pointerId, { x: e.clientX, y: e.clientY });
      globe.stop();
      if (pointers.size === 1) moved = 0;
      if (pointers.size === 2) { gap = apart(); moved = 99; }
    });
    canvas.addEventListener("pointermove", (e) => {
      const last = pointers.get(e.pointerId);
      if (!last) return;
      const [dx, dy] = [e.clientX - last.x, e.clientY - last.y];
      pointers.set(e.pointerId, { x: e.clientX, y: e.clientY });
      if (pointers.size === 2) { const now = apart(); globe.zoom(now / gap); gap = now; return; }
      moved += Math.abs(dx) + Math.abs(dy);
      if (moved > 4) globe.turn(dx, dy);
    });
    const up = (e) => {
      if (!pointers.delete(e.pointerId) || moved > 4 || e.type === "pointercancel") return;
      const box = canvas.getBoundingClientRect();
      const place = globe.invert(e.clientX - box.left, e.clientY - box.top);
      if (place) choose(...place);
    };
    canvas.addEventListener("pointerup", up);
    canvas.addEventListener("pointercancel", up);
    canvas.addEventListener("wheel", (e) => {
      e.preventDefault();
      globe.zoom(Math.exp(-e.deltaY / 600));
    }, { passive: false });
    canvas.addEventListener("keydown", (e) => {
      const way = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, 1], ArrowDown: [0, -1] }[e.key];
      const by = (e.shiftKey ? 10 : 2) / globe.view.zoom;
      if (way) {
        choose(here.lon + way[0] * by, here.lat + way[1] * by);
        globe.fly(here.lon, globe.view.flat ? globe.view.lat : here.lat);
      } else if (e.key === "+" || e.key === "=") globe.zoom(1.25);
      else if (e.key === "-") globe.zoom(0.8);
      else return;
      e.preventDefault();
    });
  }

  const PAIR = /^\s*(-?\d+(?:\.\d+)?)\s*°?[\s,;]\s*(-?\d+(?:\.\d+)?)\s*°?\s*$/;

  function go(event) {
    event.preventDefault();
    // Numbers alone: an S or W that is passed over would show a place across the equator.
    const [, lat, lon] = ($("typed").value.match(PAIR) || []).map(Number);
    const good = Math.abs(lat) <= 90 && Math.abs(lon) <= 360;
    $("typed").setCustomValidity(good ? "" :
      "Latitude and longitude, such as 52.52, 13.40; south and west have a minus");
    if (!good) { $("typed").reportValidity(); return; }
    choose(lon, lat);
    globe.fly(here.lon, globe.view.flat ? globe.view.lat : here.lat);
  }

  const picture = new Image();
  picture.addEventListener("load", () => {
    const canvas = document.createElement("canvas");
    canvas.width = picture.width; canvas.height = picture.height;
    const context = canvas.getContext("2d");
    context.drawImage(picture, 0, 0);
    const { data } = context.getImageData(0, 0, picture.width, picture.height);
    colors = { width: picture.width, height: picture.height, pixels: new Uint32Array(data.buffer) };
    globe = makeGlobe($("globe"), colors, coast, {
      glow: "rgba(92,150,230,.30)", sky: "rgba(92,150,230,0)", rim: "rgba(150,190,240,.35)", graticule: "rgba(255,255,255,.10)",
      coast: "rgba(255,255,255,.55)", mark: "#f3f6fa", ink: "#10161d", here: "#ffb454",
    });
    listen($("globe"));
    globe.view.lon = here.lon; globe.view.lat = here.lat * 0.7;
    choose(here.lon, here.lat);
    window.explorer = { encoder, here, choose, globe };
    document.body.dataset.ready = "yes";
  });
  for (const [word, color] of facts.biomes) {
    const item = document.createElement("li"), dot = document.createElement("i");
    dot.style.background = color;
    item.append(dot, word);
    $("biomes").append(item);
  }
  for (const button of document.querySelectorAll("[data-group=layer]"))
    button.addEventListener("click", () => show(button.value));
  for (const button of document.querySelectorAll("[data-group=shape]"))
    button.addEventListener("click", () => {
      pressed("shape", button.value);
      globe.flatten(button.value === "map");
    });
  $("far").addEventListener("change", () => choose(here.lon, here.lat));
  $("go").addEventListener("submit", go);
  $("typed").addEventListener("input", () => $("typed").setCustomValidity(""));
  matchMedia("(prefers-color-scheme: light)").addEventListener("change", () => here.vector && bars(here.vector));
  window.addEventListener("resize", () => globe && (bars(here.vector), globe.refresh()));
  picture.src = facts.texture;
})();
