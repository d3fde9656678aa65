/* The encoder in plain JavaScript: spherical harmonics by the recurrence of Holmes and
   Featherstone (2002), then a Siren. The same numbers as the Python package, in double precision. */
"use strict";

function makeEncoder(facts, weights) {
  const L = facts.legendre_polys, D = facts.embed_dim, H = facts.hidden_dim;
  const rad = Math.PI / 180;
  const at = (l, m) => (l * (l + 1)) / 2 + m;
  const layers = [];
  let used = 0;
  const sizes = [L * L, ...new Array(facts.num_layers).fill(H), D];
  for (let i = 0; i + 1 < sizes.length; i++) {
    const [from, to] = [sizes[i], sizes[i + 1]];
    layers.push({
      from, to, w0: facts.frequencies[i],
      weight: weights.subarray(used, used + from * to),
      bias: weights.subarray(used + from * to, used + from * to + to),
    });
    used += from * to + to;
  }
  if (used !== weights.length) throw new Error("the weights are not those of these sizes");

  // a_lm and -a_lm·b_lm of the recurrence, and sqrt((2m+1)/(2m)) of its diagonal.
  const a = new Float64Array(at(L, 0)), ab = new Float64Array(at(L, 0));
  for (let l = 1; l < L; l++)
    for (let m = 0; m < l; m++) {
      a[at(l, m)] = Math.sqrt((4 * l * l - 1) / (l * l - m * m));
      ab[at(l, m)] = -a[at(l, m)] * Math.sqrt(((l - 1) ** 2 - m * m) / (4 * (l - 1) ** 2 - 1));
    }

  function legendre(lat) {
    const P = new Float64Array(at(L, 0));
    const x = -Math.sin(lat * rad), s = Math.sin((90 - Math.abs(lat)) * rad);
    P[0] = Math.sqrt(0.25 / Math.PI);
    for (let l = 1; l < L; l++) {
      P[at(l, l)] = P[at(l - 1, l - 1)] * Math.sqrt((2 * l + 1) / (2 * l)) * s;
      for (let m = 0; m < l; m++)
        P[at(l, m)] = a[at(l, m)] * x * P[at(l - 1, m)] +
          (m < l - 1 ? ab[at(l, m)] * P[at(l - 2, m)] : 0);
    }
    return P;
  }

  /* cos(m·lon) for m = 0 … L-1, then sin(m·lon) for m = 1 … L-1, each with its order's scale. */
  function trigonometric(lon) {
    const T = new Float64Array(2 * L - 1);
    for (let m = 0; m < L; m++) {
      T[m] = Math.cos(m * lon * rad) * facts.order_scale[m];
      if (m) T[L - 1 + m] = Math.sin(m * lon * rad) * facts.order_scale[m];
    }
    return T;
  }

  function dense(layer, x, out) {
    const { from, to, weight, bias } = layer;
    for (let o = 0; o < to; o++) {
      let s0 = 0, s1 = 0, s2 = 0, s3 = 0, i = 0;
      const row = o * from;
      for (; i + 3 < from; i += 4) {
        s0 += weight[row + i] * x[i];
        s1 += weight[row + i + 1] * x[i + 1];
        s2 += weight[row + i + 2] * x[i + 2];
        s3 += weight[row + i + 3] * x[i + 3];
      }
      for (; i < from; i++) s0 += weight[row + i] * x[i];
      out[o] = bias[o] + s0 + s1 + s2 + s3;
    }
    return out;
  }

  function sines(layer, x) {
    for (let i = 0; i < x.length; i++) x[i] = Math.sin(layer.w0 * x[i]);
    return x;
  }

  function embed(lon, lat) {
    const P = legendre(lat), T = trigonometric(lon), Y = new Float64Array(L * L);
    for (let l = 0; l < L; l++)
      for (let m = -l; m <= l; m++)
        Y[l * l + l + m] = P[at(l, Math.abs(m))] * T[m < 0 ? L - 1 - m : m];
    let x = Y;
    for (const layer of layers.slice(0, -1))
      x = sines(layer, dense(layer, x, new Float64Array(layer.to)));
    return dense(layers[layers.length - 1], x, new Float64Array(D));
  }

  return { embed, dim: D };
}

/* Bytes out of base64, and numbers out of bytes: 16-bit floats where the weights need no more. */
function bytes(text) {
  const packed = atob(text), out = new Uint8Array(packed.length);
  for (let i = 0; i < packed.length; i++) out[i] = packed.charCodeAt(i);
  return out;
}

function floats(text, bits) {
  const { buffer } = bytes(text);
  if (bits === 32) return new Float32Array(buffer);
  const half = new Uint16Array(buffer), out = new Float32Array(half.length);
  for (let i = 0; i < half.length; i++) {
    const sign = half[i] & 0x8000 ? -1 : 1, power = (half[i] >> 10) & 31, rest = half[i] & 1023;
    out[i] = sign * (power ? 2 ** (power - 15) * (1 + rest / 1024) : 2 ** -24 * rest);
  }
  return out;
}
