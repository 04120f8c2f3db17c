"use strict";
// Draws the page's charts from the options beside them; colours follow the page, light or dark.

const charts = new Map();
const dark = matchMedia("(prefers-color-scheme: dark)");
const still = matchMedia("(prefers-reduced-motion: reduce)").matches;

function coloured(value, style) {
  if (typeof value === "string") {
    const name = /^var\((--[\w-]+)\)$/.exec(value);
    return name ? style.getPropertyValue(name[1]).trim() : value;
  }
  if (Array.isArray(value)) return value.map((one) => coloured(one, style));
  if (value === null || typeof value !== "object") return value;
  return Object.fromEntries(Object.entries(value).map(([k, v]) => [k, coloured(v, style)]));
}

function short(value) {
  for (const [size, unit] of [[1e9, " G"], [1e6, " M"], [1e3, " k"]]) {
    if (value >= size) return Number((value / size).toPrecision(3)) + unit;
  }
  return String(Number(value.toPrecision(3)));
}

function escaped(text) {
  return String(text).replace(/[&<>"]/g, (c) => `&#${c.charCodeAt(0)};`);
}

function tips(item) {
  const lines = (item.data && item.data.tip) || [item.seriesName, item.value];
  return lines.map((line, i) => (i ? escaped(line) : `<b>${escaped(line)}</b>`)).join("<br>");
}

function number(value) {
  return typeof value === "number" ? Number(value.toPrecision(5)).toLocaleString("en") : value;
}

// Numbers in the cells of a heat map, where these are wide enough for them.
function numbered(series, option, width) {
  if (!series.label || !series.label.numbers) return series;
  const wide = width / option.xAxis.data.length > 42;
  const formatter = (item) => item.value[2].toFixed(series.label.numbers).replace("-", "−");
  return { ...series, label: { ...series.label, show: wide, fontSize: 11, formatter } };
}

function completed(option, style, caption, width) {
  const made = coloured(option, style);
  made.series = made.series.map((one) => numbered(one, made, width - 200));
  const look = { backgroundColor: style.getPropertyValue("--paper").trim() };
  const text = { color: style.getPropertyValue("--ink").trim(), fontSize: 13 };
  made.tooltip = {
    confine: true, ...look, textStyle: text, valueFormatter: number,
    borderColor: style.getPropertyValue("--rule").trim(), ...made.tooltip,
  };
  if (made.tooltip.tips) made.tooltip.formatter = tips;
  for (const axis of [made.xAxis, made.yAxis]) {
    if (axis && axis.short) axis.axisLabel = { ...axis.axisLabel, formatter: short };
  }
  const fonts = { textStyle: { fontFamily: getComputedStyle(document.body).fontFamily } };
  return { animation: !still, aria: { enabled: true, label: { description: caption } }, ...fonts, ...made };
}

function draw(place) {
  const kept = charts.get(place.id);
  const style = getComputedStyle(document.documentElement);
  const chosen = kept.menu ? kept.content.choices[kept.menu.value] : {};
  const option = { ...kept.content.option, ...chosen };
  kept.chart.setOption(completed(option, style, kept.content.caption, place.clientWidth), true);
}

function open(name) {
  const template = document.querySelector(`template[data-net="${CSS.escape(name)}"]`);
  if (!template) return;
  const dialog = document.getElementById("cells");
  const close = document.createElement("button");
  close.textContent = "Close";
  close.className = "close";
  close.addEventListener("click", () => dialog.close());
  dialog.replaceChildren(close, template.content.cloneNode(true));
  dialog.showModal();
  dialog.scrollTop = 0;
}

for (const data of document.querySelectorAll("script[data-chart]")) {
  const place = document.getElementById(data.dataset.chart);
  const chart = echarts.init(place, null, { renderer: "canvas" });
  const menu = document.querySelector(`select[data-for="${CSS.escape(place.id)}"]`);
  charts.set(place.id, { chart, menu, content: JSON.parse(data.textContent) });
  chart.on("click", (item) => item.data && item.data.net && open(item.data.net));
  if (menu) menu.addEventListener("change", () => draw(place));
  new ResizeObserver(() => { chart.resize(); draw(place); }).observe(place);
  draw(place);
}
dark.addEventListener("change", () => charts.forEach((_, id) => draw(document.getElementById(id))));
document.addEventListener("click", (event) => {
  const button = event.target.closest("button[data-net]");
  if (button) open(button.dataset.net);
  if (event.target.id === "cells") event.target.close();
});
