// The demo's page: draws what the application publishes. It asks for nothing but its WebSocket.
#pragma once

constexpr const char* page = R"html(<!doctype html>
<html lang="en"><meta charset="utf-8"><meta name="viewport" content="width=device-width">
<link rel="icon" href="data:,"><title>Sidecar: a market feed</title>
<style>
  body { font: 15px/1.5 system-ui, sans-serif; margin: 2em auto; max-width: 56em; padding: 0 1em; color: #222 }
  h1 { font-size: 1.3em } #state { float: right; font-size: .7em; padding: .2em .8em; border-radius: 1em; color: #fff; background: #b33 }
  #state.up { background: #284 }
  table { border-collapse: collapse; width: 100% } th { font-weight: normal; color: #777 }
  th, td { text-align: right; padding: .15em .6em; border-bottom: 1px solid #eee; font-variant-numeric: tabular-nums }
  th:first-child, td:first-child { text-align: left }
  canvas { width: 100%; height: 11em; margin: 1em 0 }
  #numbers { display: grid; grid-template-columns: repeat(auto-fill, minmax(15em, 1fr)); gap: .6em }
  #numbers div { background: #f4f4f6; border-radius: .4em; padding: .4em .8em; color: #777; font-size: .85em }
  #numbers b { display: block; color: #222; font-size: 1.3em; font-variant-numeric: tabular-nums }
</style>
<h1>A market feed, beside a program that computes <span id="state">waiting</span></h1>
<table><thead><tr><th>symbol<th>bid<th>ask<th>last<th>vwap<th>volume<th>stddev</thead><tbody id="prices"></tbody></table>
<canvas id="chart"></canvas>
<div id="numbers"></div>
<p><a href="/metrics">/metrics</a> has the same counters for Prometheus.</p>
<script>
const byId = id => document.getElementById(id), colors = ["#2a6fbb", "#c2572b", "#3a8f4f", "#8a4fa3"]
const history = {}, seconds = 60
const micro = us => us < 1000 ? us + " µs" : (us / 1000).toFixed(us < 10000 ? 1 : 0) + " ms"

function draw(state) {
  byId("prices").innerHTML = ""
  for (const one of state.instruments) {
    const row = byId("prices").insertRow()
    row.insertCell().textContent = one.symbol
    for (const name of ["bid", "ask", "last", "vwap"]) row.insertCell().textContent = one[name].toFixed(2)
    row.insertCell().textContent = Math.round(one.volume).toLocaleString("en")
    row.insertCell().textContent = one.stddev.toFixed(3)
    const points = history[one.symbol] ??= []
    points.push([performance.now() / 1000, one.last])
    while (points[0][0] < points.at(-1)[0] - seconds) points.shift()
  }
  const stats = state.stats, numbers = {
    "messages a second": Math.round(state.rate).toLocaleString("en"),
    "messages": stats.messages_received.toLocaleString("en"),
    "median age when taken": micro(state.p50_us), "99th percentile": micro(state.p99_us),
    "queued for the program": stats.inbox_messages, "viewers": stats.clients,
    "states sent to viewers": stats.messages_sent, "skipped by slow viewers": stats.unsent_conflated,
    "reconnects": stats.reconnects }
  byId("numbers").replaceChildren(...Object.entries(numbers).map(([name, value]) => {
    const box = document.createElement("div"), number = document.createElement("b")
    number.textContent = value
    box.append(number, name)
    return box
  }))
  chart()
}

function chart() { // each instrument's change in percent
  const canvas = byId("chart"), scale = devicePixelRatio, pen = canvas.getContext("2d")
  canvas.width = canvas.clientWidth * scale, canvas.height = canvas.clientHeight * scale
  pen.scale(scale, scale)
  const lines = Object.entries(history).map(([name, all]) => {
    const points = all.filter(point => point[1] > 0)
    return [name, points.map(([at, price]) => [at, 100 * (price / points[0][1] - 1)])]
  }).filter(line => line[1].length > 1)
  const values = lines.flatMap(line => line[1].map(point => point[1]))
  const low = Math.min(...values, -.01), high = Math.max(...values, .01), now = performance.now() / 1000
  const began = Math.min(...lines.map(line => line[1][0][0])), width = canvas.clientWidth - 110, height = canvas.clientHeight
  const x = at => width * (at - began) / Math.max(now - began, 1), y = value => 8 + (height - 16) * (high - value) / (high - low)
  pen.font = "12px system-ui, sans-serif"
  let above = 0 // names do not cover each other
  lines.sort((a, b) => b[1].at(-1)[1] - a[1].at(-1)[1]).forEach(([name, points]) => {
    pen.strokeStyle = pen.fillStyle = colors[Object.keys(history).indexOf(name) % colors.length]
    pen.beginPath()
    for (const [at, value] of points) pen.lineTo(x(at), y(value))
    pen.stroke()
    above = Math.max(above + 13, y(points.at(-1)[1]) + 4)
    pen.fillText(name + " " + points.at(-1)[1].toFixed(2) + " %", width + 6, above)
  })
}

function connect() { // a browser does not connect again by itself
  const socket = new WebSocket(location.origin.replace(/^http/, "ws") + "/live")
  const show = (is_up, text) => { byId("state").className = is_up ? "up" : ""; byId("state").textContent = text }
  socket.onopen = () => show(true, "live")
  socket.onmessage = event => draw(JSON.parse(event.data))
  socket.onclose = () => { show(false, "gone; trying again"); setTimeout(connect, 500) }
}
connect()
</script>
)html";
