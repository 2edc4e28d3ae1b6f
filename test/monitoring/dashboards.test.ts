import { once } from 'node:events'
import { readdirSync, readFileSync } from 'node:fs'
import { createServer } from 'node:http'
import type { AddressInfo } from 'node:net'
import t from 'tap'
import { parse } from 'yaml'
import { startTestGateway } from '../support/gateway/gateway.js'
import { runProgram } from '../support/programs/prometheus.js'
import { type Dashboard, loadCheck, type Panel, writtenDashboards } from '../support/repository/dashboards.js'

const FOLDER = 'docker/grafana/dashboards'
/** Built-in panel types of Grafana that the dashboards use. */
const CORE = ['row', 'stat', 'gauge', 'bargauge', 'timeseries', 'state-timeline', 'table']
const COLUMNS = 24
/** Team metrics, whose queries must filter by the chosen teams. */
const OF_A_TEAM =
  /^segmind_gateway_(requests_total|results_total|upload_bytes_total|credits_\w+_total|budget_\w+|queue_depth)$/

const check = await loadCheck()
const dashboards = check.readDashboards()
const targets = check.targetsOf(dashboards)
const datasource = yaml('docker/grafana/provisioning/datasources/prometheus.yml').datasources[0]

// biome-ignore lint/suspicious/noExplicitAny: the test checks the shape
function yaml(file: string): any {
  return parse(readFileSync(file, 'utf8'))
}

/** Panels that show data. */
function shown({ panels }: Dashboard): Panel[] {
  return panels.filter(({ type }) => type !== 'row')
}

t.test('the dashboards match the output of node docker/grafana/dashboards.mjs', async t => {
  const written = await writtenDashboards()
  t.strictSame(readdirSync(FOLDER).sort(), Object.keys(written).sort())
  for (const [name, text] of Object.entries(written)) t.ok(readFileSync(`${FOLDER}/${name}`, 'utf8') === text, name)
})

t.test('each dashboard has its own uid and links to the others, keeping time range and teams', async t => {
  t.strictSame(
    Object.values(dashboards)
      .map(({ uid }) => uid)
      .sort(),
    ['segmind-credits', 'segmind-traffic', 'segmind-upstream'],
  )
  for (const { title, tags, links, editable, schemaVersion } of Object.values(dashboards)) {
    t.match(links, [{ type: 'dashboards', tags: ['segmind-gateway'], keepTime: true, includeVars: true }], title)
    t.ok(tags.includes('segmind-gateway'), 'is found by that link')
    t.equal(editable, false)
    t.ok(schemaVersion >= 39, 'of Grafana 11 or later')
  }
})

for (const [name, dashboard] of Object.entries(dashboards)) {
  t.test(`${name}: panels are built-in, do not overlap, and have a unit and a description`, async t => {
    const taken = new Map<string, string>()
    const ids = dashboard.panels.map(({ id }) => id)
    t.equal(new Set(ids).size, ids.length, 'ids')
    for (const { type, title, gridPos } of dashboard.panels) {
      t.ok(CORE.includes(type), `${title}: ${type}`)
      t.ok(title.length > 0)
      t.ok(gridPos.x + gridPos.w <= COLUMNS, title)
      const overlapped = cellsOf(gridPos).map(cell => taken.get(cell))
      t.strictSame(
        overlapped.filter(other => other !== undefined),
        [],
        title,
      )
      for (const cell of cellsOf(gridPos)) taken.set(cell, title)
    }
    for (const { title, description = '', fieldConfig, targets = [], datasource: from } of shown(dashboard)) {
      t.ok(description.endsWith('.'), `${title} is described`)
      t.ok(fieldConfig?.defaults.unit, `${title} has a unit`)
      t.ok(fieldConfig?.defaults.thresholds, `${title} has thresholds`)
      t.ok(targets.length > 0, title)
      t.equal(from?.uid, datasource.uid)
      t.ok(
        targets.every(({ datasource: { uid } }) => uid === datasource.uid),
        title,
      )
      const refIds = targets.map(({ refId }) => refId)
      t.equal(new Set(refIds).size, refIds.length, `${title}: refIds`)
    }
  })
}

function cellsOf({ x, y, w, h }: Panel['gridPos']): string[] {
  return Array.from({ length: w * h }, (_, index) => `${x + (index % w)},${y + Math.floor(index / w)}`)
}

t.test('queries of team metrics filter by the chosen teams', async t => {
  for (const { title, templating } of Object.values(dashboards)) {
    t.match(templating.list, [{ name: 'team', multi: true, includeAll: true, allValue: '.*' }], title)
  }
  let checked = 0
  for (const { panel, expr } of targets) {
    const selectors = [...expr.matchAll(/\b(segmind_gateway_\w+)(\{[^}]*\})?/g)]
    for (const [, metric = '', labels = ''] of selectors.filter(([, metric = '']) => OF_A_TEAM.test(metric))) {
      checked++
      t.match(labels, 'team=~"$team"', `${panel}: ${metric}`)
    }
  }
  t.ok(checked > 20)
})

t.test("rates use Grafana's interval and sum over replicas", async t => {
  for (const { panel, expr } of targets) {
    const windows = [...expr.matchAll(/\[([^\]]*)\]/g)].map(([, window]) => window)
    for (const window of windows) t.ok(['$__rate_interval', '$__range'].includes(`${window}`), `${panel}: ${window}`)
    if (/\bsegmind_(credit|remaining|price)/.test(expr))
      t.match(expr, /^(time\(\) - )?(min|max)\b/, `${panel}: every replica reports the same account`)
    if (/_total\{?/.test(expr) && !expr.includes('nodejs_')) t.match(expr, /sum|max by \(instance\)/, panel)
  }
})

t.test('every queried metric is one the gateway exposes', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const types = [...(await gateway.metrics()).matchAll(/^# TYPE (\S+) (\S+)/gm)]
  const exposed = check.seriesOf(Object.fromEntries(types.map(([, name, type]) => [name, type])))
  const unknown = check.unknownMetrics(dashboards, exposed, ['redis_'])
  t.strictSame(unknown.map(check.lineOf), [])
  const missing = { 'a.json': { ...dashboards['credits.json'], panels: [panelOf('sum(segmind_gatway_x_total)')] } }
  t.match(check.unknownMetrics(missing as never, exposed), [
    { state: 'NO SUCH METRIC', query: 'segmind_gatway_x_total' },
  ])
})

function panelOf(expr: string) {
  return { title: 'one', targets: [{ expr }] }
}

t.test('metric names are separated from labels, functions and keywords', async t => {
  const expr =
    'sum by (team, le) (rate(a_total{team=~"$team", b!="c_d"}[$__rate_interval])) / on (x) (b_c > 0) or vector(0)'
  t.strictSame(check.metricsIn(expr), ['a_total', 'b_c'])
  t.strictSame(check.metricsIn('histogram_quantile(0.95, sum by (le) (rate(x_bucket[5m]))) * 1e3'), ['x_bucket'])
})

t.test('the check reports queries without data, and fails on invalid ones', async t => {
  const gateway = await startTestGateway()
  t.teardown(gateway.stop)
  const types = [...(await gateway.metrics()).matchAll(/^# TYPE (\S+) (\S+)/gm)]
  const metadata = Object.fromEntries(types.map(([, name, type]) => [name, [{ type }]]))
  let answer: object = { status: 'success', data: { result: [] } }
  const prometheus = createServer(({ url = '' }, response) => {
    const special = url.includes('/metadata') ? metadata : url.includes('/values') ? ['vision'] : undefined
    response.end(JSON.stringify(special ? { status: 'success', data: special } : answer))
  }).listen(0, '127.0.0.1')
  await once(prometheus, 'listening')
  t.teardown(() => prometheus.close())
  const { port } = prometheus.address() as AddressInfo
  const run = (...more: string[]) => {
    const args = [
      'docker/grafana/check.mjs',
      '--prometheus',
      `http://127.0.0.1:${port}`,
      '--without',
      'redis_',
      ...more,
    ]
    return runProgram(process.execPath, ...args)
  }
  t.match(await run(), { code: 0, output: /^EMPTY .*\n3 with data, \d\d without\n$/s })
  t.match(await run('--strict'), { code: 1 })
  answer = { status: 'error', error: 'parse error' }
  t.match(await run(), { code: 1, output: /^ERROR .*parse error/ })
})

t.test("Grafana is provisioned from the mounted folders with compose's Prometheus", async t => {
  const { services } = yaml('docker-compose.yml')
  const mounts: string[] = services.grafana.volumes
  const [provider] = yaml('docker/grafana/provisioning/dashboards/segmind.yml').providers
  t.ok(mounts.includes(`./docker/grafana/dashboards:${provider.options.path}:ro`))
  t.match(provider, { type: 'file', folder: 'segmind-gateway', allowUiUpdates: false })
  t.match(datasource, { uid: 'segmind-prometheus', type: 'prometheus', isDefault: true, editable: false })
  const { hostname } = new URL(datasource.url)
  t.ok(hostname in services, hostname)
  t.equal(datasource.jsonData.timeInterval, yaml('docker/prometheus/prometheus.yml').global.scrape_interval)
})

t.test('every panel and dashboard named in the runbook exists', async t => {
  const titles = Object.values(dashboards).flatMap(({ title, panels }) => [
    title,
    ...shown({ panels } as Dashboard).map(panel => panel.title),
  ])
  const runbook = readFileSync('docs/runbook.md', 'utf8')
  const named = [...runbook.matchAll(/(?<!\*)\*([^*\n]+)\*(?!\*)/g)].map(([, name = '']) => name)
  t.ok(named.length > 5)
  for (const name of named) t.ok(titles.includes(name), name)
})

t.test('Grafana makes no internet requests and opens the credits dashboard', async t => {
  const ini = readFileSync('docker/grafana/grafana.ini', 'utf8')
  for (const name of ['reporting_enabled', 'check_for_updates', 'check_for_plugin_updates', 'news_feed_enabled'])
    t.match(ini, new RegExp(`^${name} = false$`, 'm'))
  for (const name of ['preinstall_disabled', 'disable_gravatar']) t.match(ini, new RegExp(`^${name} = true$`, 'm'))
  t.match(ini, /\[auth\.anonymous\]\nenabled = false\n/)
  t.match(ini, 'default_home_dashboard_path = /etc/grafana/dashboards/credits.json')
  t.notMatch(ini, /password\s*=/, 'the password is not in a file of the repository')
})
