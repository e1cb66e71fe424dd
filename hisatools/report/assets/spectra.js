// The spectrum of a feature: T_ON, T_U with its error, and dT below.

const GREY = "rgba(120, 120, 120, 0.18)";

export function drawSpectrum(place, feature, report) {
  const { velocity, colors } = report;
  const { t_on, channels, t_unabsorbed, sigma } = feature.spectrum;
  const unabsorbed = velocity.map(() => null);
  const delta = velocity.map(() => null);
  const error = velocity.map(() => null);
  channels.forEach((channel, k) => {
    unabsorbed[channel] = t_unabsorbed[k];
    error[channel] = sigma[k];
    delta[channel] = t_unabsorbed[k] === null ? null : t_on[channel] - t_unabsorbed[k];
  });
  const traces = [
    ...band(velocity, unabsorbed, error, colors.unabsorbed),
    ...steps("T<sub>ON</sub>", velocity, t_on, { color: "#000", width: 1.3 }),
  ];
  if (channels.length) {
    traces.push(
      ...steps("T<sub>U</sub>", velocity, unabsorbed, { color: colors.unabsorbed, width: 2 }),
      ...steps("ΔT", velocity, delta, { color: colors.accepted, width: 2 }, { yaxis: "y2", fill: "tozeroy" }),
    );
  }
  globalThis.Plotly.react(place, traces, layout(feature, report, channels.length > 0), {
    responsive: true, displaylogo: false, modeBarButtons: [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]],
  });
  place.setAttribute("aria-label", describe(feature, velocity, delta));
}

function halfWidth(velocity) {
  return (velocity[velocity.length - 1] - velocity[0]) / Math.max(velocity.length - 1, 1) / 2 || 0.5;
}

// A level from edge to edge of each channel, with gaps; and a point at its centre that tells the value.
function steps(name, velocity, values, line, more = {}) {
  const half = halfWidth(velocity);
  const [x, y] = [[], []];
  values.forEach((value, k) => {
    x.push(velocity[k] - half, velocity[k] + half);
    y.push(value, value);
  });
  const drawn = { name, x, y, mode: "lines", line, hoverinfo: "skip", ...more };
  const told = { name, x: velocity, y: values, mode: "markers", marker: { color: line.color, opacity: 0 }, showlegend: false, hovertemplate: "%{y:.4~g} K", yaxis: more.yaxis ?? "y" };
  return [drawn, told];
}

// One closed shape for each run of channels with a known error.
function band(velocity, unabsorbed, error, color) {
  const half = halfWidth(velocity);
  const [x, y] = [[], []];
  let run = [];
  const close = () => {
    if (!run.length) return;
    if (x.length) [x, y].forEach((list) => list.push(null));
    const upper = run.flatMap((k) => [[velocity[k] - half, unabsorbed[k] + error[k]], [velocity[k] + half, unabsorbed[k] + error[k]]]);
    const lower = run.flatMap((k) => [[velocity[k] - half, unabsorbed[k] - error[k]], [velocity[k] + half, unabsorbed[k] - error[k]]]);
    for (const [u, v] of [...upper, ...lower.reverse()]) [x, y].forEach((list, axis) => list.push(axis ? v : u));
    run = [];
  };
  velocity.forEach((_, k) => (unabsorbed[k] !== null && error[k] !== null ? run.push(k) : close()));
  close();
  if (!x.length) return [];
  return [{ name: "T<sub>U</sub> ± 1σ", x, y, mode: "lines", line: { width: 0 }, fill: "toself", fillcolor: `${color}40`, hoverinfo: "skip" }];
}

function layout(feature, report, absorbed) {
  const { velocity } = report;
  const half = Math.abs(halfWidth(velocity));
  const [first, last] = feature.box;
  const [low, high] = [velocity[first], velocity[last]].sort((a, b) => a - b);
  const gap = absorbed ? [0.34, 1] : [0, 1];
  const shape = { type: "rect", xref: "x", yref: "paper", x0: low - half, x1: high + half, y0: 0, y1: 1, fillcolor: GREY, line: { width: 0 }, layer: "below" };
  return {
    margin: { l: 55, r: 12, t: 36, b: 48 },
    font: { family: "system-ui, sans-serif", size: 13, color: "#1a1a1a" },
    hovermode: "x unified",
    hoversubplots: "axis",
    legend: { orientation: "h", y: 1.12, x: 0 },
    shapes: feature.id ? [shape] : [],
    xaxis: { title: { text: "Velocity (km/s)" }, range: [Math.min(...velocity) - half, Math.max(...velocity) + half], anchor: absorbed ? "y2" : "y", hoverformat: "+.2f", ticks: "inside", showline: true, mirror: true, zeroline: false },
    yaxis: { title: { text: "T (K)" }, domain: gap, ticks: "inside", showline: true, mirror: true, zeroline: false },
    ...(absorbed ? { yaxis2: { title: { text: "ΔT (K)" }, domain: [0, 0.28], ticks: "inside", showline: true, mirror: true, rangemode: "tozero" } } : {}),
  };
}

function describe(feature, velocity, delta) {
  const depth = Math.min(...delta.filter((value) => value !== null));
  if (!Number.isFinite(depth)) return `Spectrum of ${feature.name}, without accepted absorption`;
  const channel = delta.indexOf(depth);
  return `Spectrum of ${feature.name}: deepest absorption ${depth.toFixed(1)} K at ${velocity[channel].toFixed(1)} km/s`;
}
