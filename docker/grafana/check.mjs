// Runs the queries of all dashboards against a Prometheus and reports panels without data. Needs
// only Node.js.
//
//   node docker/grafana/check.mjs --prometheus http://127.0.0.1:9090
//     --range SECONDS    time range of the queries (default 3600)
//     --without PREFIX   skip queries on metrics with this prefix (redis_)
//     --all              also list queries that have data
//     --strict           treat missing data as a mistake
//
// Exit code: 0, 1 for a mistake, 2 if Prometheus cannot be queried.
import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { parseArgs } from 'node:util'

const DASHBOARDS = fileURLToPath(new URL('./dashboards', import.meta.url))
const TIMEOUT_MS = 15_000
/** Points of a range query. */
const POINTS = 100
/** States without data. For a metric that exists, they are no mistake. */
const SILENT = ['EMPTY', 'ALL NaN']
const WORDS = new Set('and or unless by without on ignoring group_left group_right bool offset inf nan'.split(' '))

/** Reads the provisioned dashboards by file name. */
export function readDashboards(folder = DASHBOARDS) {
  const names = readdirSync(folder).filter(name => name.endsWith('.json'))
  return Object.fromEntries(names.map(name => [name, JSON.parse(readFileSync(join(folder, name), 'utf8'))]))
}

/** Returns every query of every panel, including panels in collapsed rows. */
export function targetsOf(dashboards) {
  const within = panels => panels.flatMap(panel => [panel, ...within(panel.panels ?? [])])
  return Object.entries(dashboards).flatMap(([file, { panels }]) =>
    within(panels).flatMap(({ title, targets = [] }) => targets.map(target => ({ file, panel: title, ...target }))),
  )
}

/** Returns every variable that queries Prometheus. */
export function variablesOf(dashboards) {
  return Object.entries(dashboards).flatMap(([file, { templating }]) =>
    templating.list
      .filter(({ type }) => type === 'query')
      .map(({ name, query, allValue }) => ({ file, name, query: query.query, allValue })),
  )
}

/** Returns the metrics that a query names. */
export function metricsIn(expr) {
  const bare = expr
    .replace(/"[^"]*"/g, '')
    .replace(/\{[^}]*\}|\[[^\]]*\]/g, ' ')
    .replace(/\b(by|without|on|ignoring|group_left|group_right)\s*\([^)]*\)/g, ' ')
  const names = bare.match(/(?<![\w.:])[a-zA-Z_:][\w:]*(?![\w:]*\s*\()/g) ?? []
  return [...new Set(names.filter(name => !WORDS.has(name.toLowerCase())))]
}

/** Returns the series names of metrics. Histograms and summaries have several. */
export function seriesOf(types) {
  const parts = { histogram: ['_bucket', '_sum', '_count'], summary: ['', '_sum', '_count'] }
  return new Set(Object.entries(types).flatMap(([name, type]) => (parts[type] ?? ['']).map(part => name + part)))
}

/**
 * Runs all queries. Returns one finding for each query and variable: `ok`, or why its panel is
 * empty.
 */
export async function runQueries({ prometheus, dashboards, rangeSeconds = 3_600, team, without = [] }) {
  const variables = variablesOf(dashboards)
  const teams = team ?? variables.find(({ name }) => name === 'team')?.allValue ?? '.*'
  const values = { __rate_interval: '1m', __interval: '15s', __range: `${rangeSeconds}s`, team: teams }
  const wanted = ({ expr }) => !metricsIn(expr).some(name => without.some(prefix => name.startsWith(prefix)))
  const found = []
  for (const variable of variables) found.push({ ...variable, ...(await checkVariable(prometheus, variable)) })
  for (const target of targetsOf(dashboards).filter(wanted)) {
    const expr = resolved(target.expr, values)
    found.push({ ...target, query: expr, ...(await checkTarget(prometheus, { ...target, expr }, rangeSeconds)) })
  }
  return found
}

/** Returns the metrics that queries name and no target exposes, with their panels. */
export function unknownMetrics(dashboards, exposed, without = []) {
  const isOurs = name => !without.some(prefix => name.startsWith(prefix))
  return targetsOf(dashboards).flatMap(({ file, panel, expr }) =>
    metricsIn(expr)
      .filter(name => isOurs(name) && !exposed.has(name))
      .map(metric => ({ file, panel, query: metric, state: 'NO SUCH METRIC' })),
  )
}

function resolved(expr, values) {
  return expr.replace(/\$\{(\w+)(?::\w+)?\}|\$(\w+)/g, (text, braced, plain) => values[braced ?? plain] ?? text)
}

async function checkVariable(prometheus, { query }) {
  const [, selector, label] = /^label_values\((.+),\s*(\w+)\)$/.exec(query) ?? []
  if (!label) return { state: 'ERROR', why: 'not of the form label_values(metric, label)' }
  const values = await get(prometheus, `label/${label}/values`, { 'match[]': selector })
  if (values.error) return { state: 'ERROR', why: values.error }
  return values.data.length > 0 ? { state: 'ok', series: values.data.length } : { state: 'EMPTY' }
}

/** Runs an instant and a range query. Both must be valid; the panel shows one of them. */
async function checkTarget(prometheus, { expr, instant, legendFormat = '' }, rangeSeconds) {
  const end = Date.now() / 1_000
  const step = Math.max(1, Math.round(rangeSeconds / POINTS))
  const now = await get(prometheus, 'query', { query: expr })
  const range = await get(prometheus, 'query_range', { query: expr, start: end - rangeSeconds, end, step })
  const error = now.error ?? range.error
  if (error) return { state: 'ERROR', why: error }
  const series = instant ? now.data.result : range.data.result
  const points = series.flatMap(({ value, values }) => values ?? [value])
  const count = { series: series.length, now: now.data.result.length }
  if (series.length === 0) return { state: 'EMPTY', ...count }
  if (points.every(([, value]) => value === 'NaN')) return { state: 'ALL NaN', ...count }
  const labels = [...legendFormat.matchAll(/\{\{(\w+)\}\}/g)].map(([, label]) => label)
  const missing = labels.filter(label => !series.some(({ metric }) => label in metric))
  return missing.length > 0 ? { state: 'NO SUCH LABEL', why: missing.join(', '), ...count } : { state: 'ok', ...count }
}

async function get(prometheus, path, query) {
  try {
    const url = `${prometheus}/api/v1/${path}?${new URLSearchParams(query)}`
    const answer = await (await fetch(url, { signal: AbortSignal.timeout(TIMEOUT_MS) })).json()
    return answer.status === 'success' ? { data: answer.data } : { error: answer.error }
  } catch (error) {
    return { error: `${error.message}${error.cause ? ` (${error.cause.message})` : ''}` }
  }
}

/** Formats a finding as one line. */
export function lineOf({ file, panel, name, state, query, why }) {
  const where = panel ? `"${panel}"` : `variable ${name}`
  return `${state.padEnd(14)} ${file} ${where}: ${query}${why ? ` (${why})` : ''}`
}

async function main() {
  const text = { type: 'string' }
  const many = { type: 'string', multiple: true, default: [] }
  const { values } = parseArgs({
    options: { prometheus: text, range: text, without: many, all: { type: 'boolean' }, strict: { type: 'boolean' } },
  })
  if (!values.prometheus) throw new Error('--prometheus is required, such as http://127.0.0.1:9090')
  const { without } = values
  const dashboards = readDashboards()
  const prometheus = values.prometheus.replace(/\/$/, '')
  const unknown = unknownMetrics(dashboards, await exposedMetrics(prometheus), without)
  const checked = await runQueries({ prometheus, dashboards, without, rangeSeconds: Number(values.range ?? 3_600) })
  const found = [...unknown, ...checked]
  const bad = found.filter(({ state }) => state !== 'ok')
  for (const entry of values.all ? found : bad) console.log(lineOf(entry))
  console.log(`${found.length - bad.length} with data, ${bad.length} without`)
  const mistakes = bad.filter(({ state }) => values.strict || !SILENT.includes(state))
  return mistakes.length === 0 ? 0 : 1
}

/** Returns the metrics that the targets of this Prometheus expose. */
async function exposedMetrics(prometheus) {
  const { data, error } = await get(prometheus, 'metadata', {})
  if (error) throw new Error(`${prometheus}: ${error}`)
  return seriesOf(Object.fromEntries(Object.entries(data).map(([name, [{ type }]]) => [name, type])))
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  process.exitCode = await main().catch(error => {
    console.error(error.message)
    return 2
  })
}
