// A dashboard around its panels: where each stands, the variable `team`, the way to the other dashboards.
import { DATASOURCE } from './panels.mjs'

const COLUMNS = 24
/** Of Grafana 12.0; older ones read it as well. */
const SCHEMA_VERSION = 41
const TAG = 'segmind-gateway'

/** A titled row with panels; they fill the grid from left to right. */
export function row(title, ...panels) {
  return { title, panels }
}

/** Everything Grafana has to know of one dashboard. */
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
    links: [wayToTheOthers()],
    templating: { list: [team()] },
    panels: placed(rows),
  }
}

/** Keeps the time that is looked at, and the teams. */
function wayToTheOthers() {
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

/** Every team of the teams file. All of them includes requests without a team, so that nothing is left out. */
function team() {
  const query = 'label_values(segmind_gateway_results_total, team)'
  return {
    type: 'query',
    name: 'team',
    label: 'Team',
    description: 'Whose figures are shown, where a figure has a team.',
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
