import { Channels, MapView, kelvinText, signed, skyPosition } from "maps";
import { drawSpectrum } from "spectra";
import { makeTable, moveByArrows, showRow } from "table";

const report = JSON.parse(document.getElementById("report-data").textContent);
const byId = new Map(report.features.map((feature) => [feature.id, feature]));
const find = (id) => document.getElementById(id);
const state = { channel: report.maps?.start ?? 0, feature: null };
const MARGIN = 0.6; // about a feature, in its sizes
const LEAST = 12; // pixels

document.querySelectorAll(".needs-script").forEach((part) => (part.hidden = false));
const element = find("features");
const table = element ? makeTable(element) : null;
const channels = report.maps ? new Channels(report.maps) : null;
const browser = channels ? new MapView(find("channel-map"), channels, report) : null;
const close = channels && find("feature-on") ? ["feature-on", "feature-delta"].map((id) => new MapView(find(id), channels, report, { close: true })) : [];

// --- channel maps -----------------------------------------------------------------------------

function velocityText(channel) {
  return `${signed(report.velocity[channel], 2)} km/s`;
}

function showChannel(channel) {
  const last = report.velocity.length - 1;
  state.channel = Math.min(Math.max(channel, 0), last);
  const slider = find("channel");
  slider.value = state.channel;
  slider.setAttribute("aria-valuetext", velocityText(state.channel));
  const counts = report.maps.channels[state.channel];
  find("velocity").textContent = `${velocityText(state.channel)}, channel ${state.channel} (0 to ${last})`;
  find("profile-marker").setAttribute("x", state.channel);
  const quantity = document.querySelector("input[name=quantity]:checked").value;
  const overlays = [...document.querySelectorAll("input[name=overlay]:checked")].map((box) => box.value);
  const present = (feature) => feature.box[0] <= state.channel && state.channel <= feature.box[1];
  return browser.draw(state.channel, {
    quantity,
    overlays,
    features: overlays.includes("outlines") ? report.features.filter(present) : [],
    open: state.feature,
    label: `Channel map at ${velocityText(state.channel)}, ${counts.accepted} accepted voxels`,
  });
}

function readOut(event) {
  const found = browser.under(event);
  if (!found) return;
  const { x, y, values, limit, flags } = found;
  const names = ["T_ON", "T_U", "ΔT"];
  const range = report.maps.t_on.high - report.maps.t_on.low;
  const kelvin = values.length ? names.map((name, k) => `${name} ${name === "ΔT" ? "" : limit}${kelvinText(values[k], range)} K`).join(", ") : "blank";
  const marks = ["spectral", "spatial", "accepted"].filter((_, bit) => flags & (1 << bit)).join(", ");
  find("readout").textContent = [`x = ${x}, y = ${y}`, skyPosition(report.maps, x, y), kelvin, marks].filter(Boolean).join("; ");
}

function watchMaps() {
  find("channel").addEventListener("input", (event) => showChannel(Number(event.target.value)));
  find("previous-channel").addEventListener("click", () => showChannel(state.channel - 1));
  find("next-channel").addEventListener("click", () => showChannel(state.channel + 1));
  document.querySelectorAll("input[name=quantity], input[name=overlay]").forEach((box) => box.addEventListener("change", () => showChannel(state.channel)));
  const map = find("channel-map");
  map.addEventListener("keydown", (event) => {
    const step = { ArrowLeft: -1, ArrowRight: 1 }[event.key];
    if (!step) return;
    event.preventDefault();
    showChannel(state.channel + step);
  });
  map.addEventListener("pointermove", readOut);
  map.addEventListener("pointerdown", readOut);
  map.addEventListener("click", (event) => {
    const id = event.target.dataset?.feature;
    if (id) openFeature(Number(id));
  });
  find("profile").addEventListener("click", (event) => {
    const frame = find("profile").getBoundingClientRect();
    showChannel(Math.floor(((event.clientX - frame.left) / frame.width) * report.velocity.length));
  });
}

// --- features ---------------------------------------------------------------------------------

function neighbourhood([, , y0, y1, x0, x1]) {
  const [, n_y, n_x] = report.maps.shape;
  const about = (low, high, n) => {
    const margin = Math.round(Math.max((high - low + 1) * MARGIN, LEAST * report.maps.factor));
    return [Math.max(low - margin, 0), Math.min(high + margin, n - 1)];
  };
  return [...about(y0, y1, n_y), ...about(x0, x1, n_x)];
}

function openFeature(id, { scroll = true } = {}) {
  const feature = byId.get(id);
  if (!feature) return;
  state.feature = id;
  find("feature-title").textContent = feature.id ? `Feature ${feature.id}: ${feature.name}` : feature.name;
  const [channel] = feature.place;
  const where = feature.position ? `Deepest at ${feature.position}; ` : "";
  find("feature-summary").textContent = feature.id
    ? `${where}${velocityText(channel)} (channel ${channel}). Channels ${feature.box[0]} to ${feature.box[1]}.`
    : `${feature.position}.`;
  close.forEach((view, k) => {
    const quantity = k ? "delta_t" : "t_on";
    view.draw(channel, { quantity, box: neighbourhood(feature.box), features: [feature], open: id, label: `${k ? "dT" : "T_ON"} about ${feature.name} at ${velocityText(channel)}` });
  });
  showSpectrum(feature);
  showColumns(feature);
  element?.querySelectorAll("tr.open").forEach((row) => row.classList.remove("open"));
  table?.row(`#row-${id}`).node()?.classList.add("open");
  if (!scroll) return;
  history.replaceState(null, "", `#feature=${id}`);
  find("feature").scrollIntoView();
  find("feature-title").focus({ preventScroll: true });
}

function showSpectrum(feature) {
  const place = find("spectrum");
  if (feature.spectrum) {
    drawSpectrum(place, feature, report);
    return;
  }
  globalThis.Plotly.purge(place);
  place.textContent = "The spectrum of this feature is not kept on the page; only those of the most significant ones are. HISAResult.plot_spectrum draws it.";
}

function showColumns(feature) {
  const rows = find("feature-columns");
  rows?.replaceChildren(
    ...report.columns.slice(0, feature.columns?.length ?? 0).map(({ name, unit, about }, k) => {
      const row = document.createElement("tr");
      const head = Object.assign(document.createElement("th"), { textContent: name, scope: "row", title: about });
      const cell = Object.assign(document.createElement("td"), { textContent: feature.columns[k] ? `${feature.columns[k]} ${unit}` : "not known" });
      row.append(head, cell);
      return row;
    }),
  );
}

function step(by) {
  const order = table.rows({ search: "applied", order: "applied" }).nodes().toArray().map((row) => Number(row.dataset.feature));
  const place = order.indexOf(state.feature);
  const next = order[place < 0 ? 0 : (place + by + order.length) % order.length];
  openFeature(next);
}

function watchFeatures() {
  element.tBodies[0].addEventListener("click", (event) => {
    const row = event.target.closest("tr[data-feature]");
    if (!row) return;
    event.preventDefault();
    openFeature(Number(row.dataset.feature));
  });
  moveByArrows(element);
  find("previous-feature").addEventListener("click", () => step(-1));
  find("next-feature").addEventListener("click", () => step(1));
  find("to-map")?.addEventListener("click", () => showChannel(byId.get(state.feature).place[0]));
  find("to-row").addEventListener("click", (event) => {
    event.preventDefault();
    showRow(table, state.feature);
    const row = find(`row-${state.feature}`);
    row?.scrollIntoView({ block: "center" });
    row?.querySelector("a").focus({ preventScroll: true });
  });
  window.addEventListener("hashchange", openAddressed);
}

function openAddressed() {
  const found = location.hash.match(/^#feature=(\d+)$/);
  if (found) openFeature(Number(found[1]));
}

const first = table ? Number(element.tBodies[0].rows[0].dataset.feature) : 0;
openFeature(first, { scroll: false });
if (table) watchFeatures();
if (browser) {
  watchMaps();
  showChannel(state.channel);
}
openAddressed();
document.documentElement.dataset.ready = "yes";
