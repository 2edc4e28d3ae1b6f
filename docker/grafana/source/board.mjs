// Builds a dashboard from rows of panels, with the variable `team` and links to the other
// dashboards.
import { DATASOURCE } from './panels.mjs'

const COLUMNS = 24
/** Schema of Grafana 12.0. Older versions read it too. */
const SCHEMA_VERSION = 41
const TAG = 'segmind-gateway'

/** Returns a titled row. Its panels fill the grid from left to right. */
export function row(title, ...panels) {
  return { title, panels }
}

/** Returns the JSON model of one dashboard. */
export function board({ uid, title, description, rows }) {
  return {
    uid,
    title,
    description,
    tags: [TAG],
    schemaVersion: SCHEMA_VERSION,
    version: 1,
    editable: false,
    graphTooltip: 1,
    refresh: '30s',
    time: { from: 'now-6h', to: 'now' },
    timepicker: {},
    timezone: '',
    weekStart: '',
    fiscalYearStartMonth: 0,
    liveNow: false,
    annotations: { list: [] },
    links: [dashboardLinks()],
    templating: { list: [team()] },
    panels: placed(rows),
  }
}

/** Links to the other dashboards. Keeps the time range and the teams. */
function dashboardLinks() {
  return {
    type: 'dashboards',
    title: 'Dashboards of the gateway',
    tags: [TAG],
    asDropdown: false,
    icon: 'external link',
    includeVars: true,
    keepTime: true,
    targetBlank: false,
    tooltip: '',
    url: '',
  }
}

/** The variable `team`: every team of the teams file. `All` includes requests without a team. */
function team() {
  const query = 'label_values(segmind_gateway_results_total, team)'
  return {
    type: 'query',
    name: 'team',
    label: 'Team',
    description: 'Restricts figures that have a team.',
    datasource: DATASOURCE,
    query: { query, refId: 'teams', qryType: 1 },
    refresh: 2,
    sort: 1,
    multi: true,
    includeAll: true,
    allValue: '.*',
    current: { text: ['All'], value: ['$__all'] },
    options: [],
    hide: 0,
    skipUrlSync: false,
    regex: '',
  }
}

function placed(rows) {
  const panels = []
  let y = 0
  for (const { title, panels: members } of rows) {
    panels.push(
      numbered(panels, { type: 'row', title, collapsed: false, panels: [], gridPos: { x: 0, y, w: COLUMNS, h: 1 } }),
    )
    y += 1
    let [x, height] = [0, 0]
    for (const { size, ...panel } of members) {
      const [w, h] = size
      if (x + w > COLUMNS) {
        y += height
        x = 0
        height = 0
      }
      panels.push(numbered(panels, { ...panel, gridPos: { x, y, w, h } }))
      x += w
      height = Math.max(height, h)
    }
    y += height
  }
  return panels
}

function numbered(before, panel) {
  return { id: before.length + 1, ...panel }
}
