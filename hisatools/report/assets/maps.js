// Channel maps on canvas: brightness in levels of grey, dT in colours, marks of the searches, outlines.

const SVG = "http://www.w3.org/2000/svg";
const BITS = { spectral: 1, spatial: 2, accepted: 4 };
const WHITE = [255, 255, 255];
const KEPT = 12; // channels

function rgb(color) {
  return [1, 3, 5].map((start) => parseInt(color.slice(start, start + 2), 16));
}

// Levels of a lossless picture, exactly as they were written.
async function levels(base64) {
  const bytes = Uint8Array.from(atob(base64), (letter) => letter.charCodeAt(0));
  const options = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  const bitmap = await createImageBitmap(new Blob([bytes], { type: "image/webp" }), options);
  const canvas = document.createElement("canvas");
  [canvas.width, canvas.height] = [bitmap.width, bitmap.height];
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const pixels = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  return Uint8Array.from({ length: pixels.length / 4 }, (_, k) => pixels[4 * k]);
}

export class Channels {
  constructor(maps) {
    this.maps = maps;
    [this.height, this.width] = maps.map;
    this.planes = new Map();
  }

  // Levels of a channel: the first row is the last one of the map.
  async plane(channel) {
    if (!this.planes.has(channel)) {
      const stored = this.maps.channels[channel];
      const none = () => new Uint8Array(this.width * this.height);
      const decoded = ["t_on", "delta_t", "flags"].map((name) => (stored[name] ? levels(stored[name]) : none()));
      this.planes.set(channel, Promise.all(decoded));
      if (this.planes.size > KEPT) this.planes.delete(this.planes.keys().next().value);
    }
    const [t_on, delta_t, flags] = await this.planes.get(channel);
    return { t_on, delta_t, flags };
  }

  // A quantity at a place in a plane that is not blank, K.
  value(quantity, plane, place) {
    const { t_on, delta_t } = this.maps;
    const observed = kelvin(plane.t_on[place], t_on);
    if (quantity === "t_on") return observed;
    const depth = plane.delta_t[place] ? kelvin(plane.delta_t[place], delta_t) : 0;
    return quantity === "delta_t" ? depth : observed - depth;
  }
}

// "≥ " or "≤ " where the brightness of a place lies at an end of the scale, beyond which it is not kept; T_ON and T_U.
export function bound(level, { levels }) {
  if (level === levels) return "≥ ";
  return level === 1 ? "≤ " : "";
}

// A brightness with as many decimals as a range of brightness asks for.
export function kelvinText(value, range) {
  const text = value.toFixed(range < 20 ? 2 : 1);
  return Number(text) === 0 ? text.replace("-", "") : text.replace("-", "−");
}

function kelvin(level, { low, high, levels }) {
  return low + ((level - 1) * (high - low)) / (levels - 1);
}

// Position on the sky of a pixel, between the nodes of a grid.
export function skyPosition(maps, x, y) {
  if (!maps.sky) return "";
  const { names, lon, lat } = maps.sky;
  const last = lon.length - 1;
  const at = (pixel, n) => Math.min(Math.max(((pixel + 0.5) / n) * last, 0), last - 1e-9);
  const [row, column] = [at(y, maps.shape[1]), at(x, maps.shape[2])];
  const [r, c] = [Math.floor(row), Math.floor(column)];
  const between = (grid) => {
    const along = (k) => grid[k][c] + (grid[k][c + 1] - grid[k][c]) * (column - c);
    return along(r) + (along(r + 1) - along(r)) * (row - r);
  };
  const [longitude, latitude] = [((between(lon) % 360) + 360) % 360, between(lat)];
  return `${names[0]} = ${longitude.toFixed(3)}°, ${names[1]} = ${signed(latitude, 3)}°`;
}

export function signed(value, digits) {
  return `${value < 0 ? "−" : "+"}${Math.abs(value).toFixed(digits)}`;
}

// close: a view of one feature, with a brightness scale of its own and a cross at the deepest voxel.
export class MapView {
  constructor(place, channels, report, { close = false } = {}) {
    [this.place, this.channels, this.report, this.close] = [place, channels, report, close];
    this.canvas = place.appendChild(document.createElement("canvas"));
    this.canvas.setAttribute("role", "img");
    this.svg = place.appendChild(document.createElementNS(SVG, "svg"));
    this.svg.setAttribute("preserveAspectRatio", "none");
    this.svg.setAttribute("aria-hidden", "true");
    this.tints = Object.keys(BITS).map((name) => [name, rgb(report.colors[name])]);
    this.blank = rgb(report.colors.blank);
    this.scale = document.createElement("div");
    this.scale.className = "bar scale";
    place.after(this.scale);
  }

  // Draw a channel; box: [y0, y1, x0, x1] in pixels of the cube, ends included.
  async draw(channel, { quantity, overlays = [], box = null, features = [], open = null, label = "" }) {
    const { maps } = this.report;
    const factor = maps.factor;
    const [, n_y, n_x] = maps.shape;
    const [y0, y1, x0, x1] = box ?? [0, n_y - 1, 0, n_x - 1];
    const cells = [y0, y1, x0, x1].map((pixel) => Math.floor(pixel / factor));
    this.wanted = channel;
    const plane = await this.channels.plane(channel);
    if (this.wanted !== channel) return; // another one was asked for meanwhile
    this.plane = plane;
    this.cells = cells;
    this.paint(quantity, overlays);
    const [width, height] = [this.canvas.width, this.canvas.height];
    this.place.style.aspectRatio = `${width} / ${height}`;
    this.place.style.maxWidth = `calc(${this.close ? 50 : 75}vh * ${width / height})`;
    this.canvas.setAttribute("aria-label", label);
    this.outline(features, open);
    this.showScale(quantity);
  }

  paint(quantity, overlays) {
    const [y0, y1, x0, x1] = this.cells;
    const [width, height] = [x1 - x0 + 1, y1 - y0 + 1];
    [this.canvas.width, this.canvas.height] = [width, height];
    this.range = this.rangeOf(quantity);
    const context = this.canvas.getContext("2d");
    const image = context.createImageData(width, height);
    const shown = this.tints.filter(([name]) => overlays.includes(name)).map(([name, tint]) => [BITS[name], tint]);
    const color = this.colors(quantity);
    for (let row = 0; row < height; row += 1) {
      for (let column = 0; column < width; column += 1) {
        const place = this.index(y1 - row, x0 + column);
        const start = 4 * (row * width + column);
        let shade = color(place);
        for (const [bit, tint] of shown) {
          if (this.plane.flags[place] & bit) shade = shade.map((part, k) => 0.45 * part + 0.55 * tint[k]);
        }
        [image.data[start], image.data[start + 1], image.data[start + 2]] = shade;
        image.data[start + 3] = 255;
      }
    }
    context.putImageData(image, 0, 0);
  }

  // Where a cell of the map stands in a plane.
  index(row, column) {
    return (this.channels.height - 1 - row) * this.channels.width + column;
  }

  // What gives the colour of a place in a plane.
  colors(quantity) {
    const { table, low, high } = this.range;
    const shades = Array.from({ length: table.length / 3 }, (_, k) => table.slice(3 * k, 3 * k + 3));
    const last = shades.length - 1;
    const { t_on, delta_t } = this.plane;
    return (place) => {
      if (!t_on[place]) return this.blank;
      if (quantity === "delta_t" && !delta_t[place]) return WHITE;
      const share = (this.channels.value(quantity, this.plane, place) - low) / (high - low);
      return shades[Math.round(Math.min(Math.max(share, 0), 1) * last)];
    };
  }

  rangeOf(quantity) {
    const { maps, color_tables: tables } = this.report;
    const [table, scale] = quantity === "delta_t" ? [tables.delta_t, maps.delta_t] : [tables.brightness, maps.t_on];
    if (!this.close || quantity === "delta_t") return { table, low: scale.low, high: scale.high };
    const shown = [];
    const [y0, y1, x0, x1] = this.cells;
    for (let row = y0; row <= y1; row += 1) {
      for (let column = x0; column <= x1; column += 1) {
        const place = this.index(row, column);
        if (this.plane.t_on[place]) shown.push(this.channels.value(quantity, this.plane, place));
      }
    }
    const [low, high] = shown.reduce(([a, b], value) => [Math.min(a, value), Math.max(b, value)], [Infinity, -Infinity]);
    return shown.length && high > low ? { table, low, high } : { table, low: scale.low, high: scale.high };
  }

  outline(features, open) {
    const { factor } = this.report.maps;
    const [y0, y1, x0, x1] = this.cells;
    const box = [x0, y0, x1 - x0 + 1, y1 - y0 + 1].map((cell) => cell * factor);
    this.svg.setAttribute("viewBox", box.join(" "));
    this.svg.replaceChildren();
    const top = 2 * box[1] + box[3];
    for (const kind of ["halo", "line"]) {
      for (const feature of features) {
        const path = this.add(feature.outlines.map((line) => pathOf(line, top)).join(""), kind);
        path.classList.toggle("open", feature.id === open);
        if (kind === "line") path.dataset.feature = feature.id;
      }
    }
    const marked = features.find((feature) => feature.id === open);
    if (marked && this.close) {
      const [, y, x] = marked.place;
      const [u, v, arm] = [x + 0.5, top - y - 0.5, Math.max(box[2] / 40, 1)];
      for (const kind of ["halo", "cross"]) this.add(`M${u - arm} ${v}H${u + arm}M${u} ${v - arm}V${v + arm}`, kind);
    }
  }

  add(shape, kind) {
    const path = this.svg.appendChild(document.createElementNS(SVG, "path"));
    path.setAttribute("d", shape);
    path.setAttribute("class", kind);
    return path;
  }

  showScale(quantity) {
    const { table, low, high } = this.range;
    const colors = [0, 32, 64, 96, 128, 160, 192, 224, 254].map((k) => `rgb(${table.slice(3 * k, 3 * k + 3)})`);
    const bar = document.createElement("i");
    bar.style.background = `linear-gradient(to right, ${colors})`;
    const { t_on } = this.report.maps;
    const limits = [low <= t_on.low ? "≤ " : "", high >= t_on.high ? "≥ " : ""];
    const signs = quantity === "delta_t" ? ["", ""] : limits;
    const ends = [low, high].map((value, k) => Object.assign(document.createElement("span"), { textContent: `${signs[k]}${kelvinText(value, high - low)} K` }));
    this.scale.replaceChildren(ends[0], bar, ends[1]);
  }

  // Pixel of the cube under a pointer, and what is there.
  under(event) {
    if (!this.plane) return null;
    const frame = this.canvas.getBoundingClientRect();
    const [y0, y1, x0, x1] = this.cells;
    const { maps } = this.report;
    const u = ((event.clientX - frame.left) / frame.width) * (x1 - x0 + 1) + x0;
    const v = ((frame.bottom - event.clientY) / frame.height) * (y1 - y0 + 1) + y0;
    const [column, row] = [Math.floor(u), Math.floor(v)];
    if (column < x0 || column > x1 || row < y0 || row > y1) return null;
    const pixel = (position, n) => Math.min(Math.floor(position * maps.factor), n - 1);
    const place = this.index(row, column);
    const names = this.plane.t_on[place] ? ["t_on", "t_unabsorbed", "delta_t"] : [];
    const values = names.map((name) => this.channels.value(name, this.plane, place));
    const limit = bound(this.plane.t_on[place], maps.t_on);
    return { x: pixel(u, maps.shape[2]), y: pixel(v, maps.shape[1]), values, limit, flags: this.plane.flags[place] };
  }
}

// Vertices x, y, x, y, ... at centres of pixels, as a closed path with y downwards.
function pathOf(line, top) {
  let shape = "";
  for (let k = 0; k < line.length; k += 2) shape += `${k ? "L" : "M"}${line[k] + 0.5} ${top - line[k + 1] - 0.5}`;
  return `${shape}Z`;
}
