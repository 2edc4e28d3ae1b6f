// One function for each type of panel. `size` is the width (of 24 columns) and the height, if not
// the default of the type.

export const DATASOURCE = { type: 'prometheus', uid: 'segmind-prometheus' }

/** Grafana's unit names. Credits use a suffix. */
export const UNITS = {
  credits: 'suffix: credits',
  creditsPerHour: 'suffix: credits/h',
  seconds: 's',
  bytes: 'bytes',
  bytesPerSecond: 'Bps',
  perSecond: 'reqps',
  eventsPerSecond: 'cps',
  share: 'percentunit',
  cores: 'suffix: cores',
  number: 'short',
  state: 'none',
}

const NEUTRAL = [{ color: 'blue', value: null }]

/** Returns threshold steps, each from a value upwards: `steps('green', [300, 'orange'])`. */
export function steps(base, ...rest) {
  return [{ color: base, value: null }, ...rest.map(([value, color]) => ({ color, value }))]
}

/** Returns a value mapping: `named({ 0: ['normal', 'green'] })`. */
export function named(names) {
  const options = Object.entries(names).map(([value, [text, color]], index) => [value, { text, color, index }])
  return [{ type: 'value', options: Object.fromEntries(options) }]
}

/** Returns a query with the legend of its series. */
export function series(expr, legendFormat = '') {
  return { expr, legendFormat }
}

/** Returns a time series panel. `stacked` adds the series up. */
export function lines(
  title,
  description,
  { unit, queries, stacked = false, min = 0, max, thresholds, colors = {}, size = [8, 8] },
) {
  return {
    type: 'timeseries',
    ...base({ title, description, size }, queries.map(overTime)),
    fieldConfig: fields({ unit, thresholds, ...(min !== null && { min }), ...(max !== undefined && { max }) }, colors, {
      drawStyle: 'line',
      lineWidth: 1,
      fillOpacity: stacked ? 40 : 10,
      showPoints: 'never',
      spanNulls: false,
      stacking: { mode: stacked ? 'normal' : 'none', group: 'A' },
      thresholdsStyle: { mode: thresholds ? 'dashed' : 'off' },
    }),
    options: {
      legend: { displayMode: 'table', placement: 'bottom', showLegend: true, calcs: ['lastNotNull', 'max'] },
      tooltip: { mode: 'multi', sort: 'desc' },
    },
  }
}

/** Returns a panel with one current number. `noValue` is shown if Prometheus has none. */
export function number(
  title,
  description,
  { unit, expr, legend, thresholds = NEUTRAL, mappings, decimals, noValue, size = [4, 4] },
) {
  return {
    type: 'stat',
    ...base({ title, description, size }, [now(series(expr, legend))]),
    fieldConfig: fields({
      unit,
      thresholds,
      noValue: noValue ?? 'unknown',
      ...(mappings && { mappings }),
      ...(decimals !== undefined && { decimals }),
    }),
    options: {
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      colorMode: 'value',
      graphMode: 'none',
      justifyMode: 'auto',
      orientation: 'auto',
      textMode: legend ? 'value_and_name' : 'value',
    },
  }
}

/** Returns a gauge with a current share. */
export function dial(title, description, { expr, thresholds = NEUTRAL, noValue, size = [4, 4] }) {
  return {
    type: 'gauge',
    ...base({ title, description, size }, [now(series(expr))]),
    fieldConfig: fields({ unit: UNITS.share, thresholds, min: 0, max: 1, noValue: noValue ?? 'unknown' }),
    options: {
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      showThresholdLabels: false,
      showThresholdMarkers: true,
      orientation: 'auto',
    },
  }
}

/** Returns a panel with one bar a series, current values. */
export function bars(title, description, { unit, query, thresholds = NEUTRAL, min = 0, max, noValue, size = [12, 8] }) {
  return {
    type: 'bargauge',
    ...base({ title, description, size }, [now(query)]),
    fieldConfig: fields({
      unit,
      thresholds,
      min,
      ...(max !== undefined && { max }),
      ...(noValue && { noValue }),
    }),
    options: {
      reduceOptions: { calcs: ['lastNotNull'], fields: '', values: false },
      displayMode: 'gradient',
      orientation: 'horizontal',
      valueMode: 'color',
      showUnfilled: true,
    },
  }
}

/** Returns a timeline of states. */
export function states(title, description, { queries, mappings, thresholds = NEUTRAL, size = [8, 6] }) {
  return {
    type: 'state-timeline',
    ...base({ title, description, size }, queries.map(overTime)),
    fieldConfig: fields({ unit: UNITS.state, thresholds, mappings }, {}, { fillOpacity: 70, lineWidth: 0 }),
    options: {
      mergeValues: true,
      showValue: 'auto',
      alignValue: 'left',
      rowHeight: 0.8,
      legend: { displayMode: 'list', placement: 'bottom', showLegend: false },
      tooltip: { mode: 'single', sort: 'none' },
    },
  }
}

/**
 * Returns a table: a row for each value of the label `by`, a column for each query. Sorted by the
 * first column.
 */
export function table(title, description, { by, columns, size = [24, 8] }) {
  const queries = columns.map(({ expr }) => ({ ...now(series(expr)), format: 'table' }))
  const names = columns.map(({ name }, index) => [`Value #${refId(index)}`, name])
  return {
    type: 'table',
    ...base({ title, description, size }, queries),
    fieldConfig: {
      ...fields({ unit: UNITS.number, thresholds: NEUTRAL }),
      overrides: columns.map(({ name, unit }) => ({
        matcher: { id: 'byName', options: name },
        properties: [{ id: 'unit', value: unit }],
      })),
    },
    transformations: [
      { id: 'merge', options: {} },
      {
        id: 'organize',
        options: {
          excludeByName: { Time: true },
          indexByName: {},
          renameByName: Object.fromEntries([[by, by], ...names]),
        },
      },
      { id: 'sortBy', options: { fields: {}, sort: [{ field: columns[0].name, desc: true }] } },
      { id: 'limit', options: { limitField: 20 } },
    ],
    options: { showHeader: true, cellHeight: 'sm', footer: { show: false, reducer: ['sum'], fields: '' } },
  }
}

function base(heading, queries) {
  const targets = queries.map((query, index) => ({ refId: refId(index), datasource: DATASOURCE, ...query }))
  return { ...heading, datasource: DATASOURCE, targets }
}

function fields({ thresholds, ...defaults }, colors = {}, custom) {
  return {
    defaults: {
      ...defaults,
      color: { mode: custom?.drawStyle ? 'palette-classic' : 'thresholds' },
      thresholds: { mode: 'absolute', steps: thresholds ?? NEUTRAL },
      ...(custom && { custom }),
    },
    overrides: Object.entries(colors).map(([name, fixedColor]) => ({
      matcher: { id: 'byName', options: name },
      properties: [{ id: 'color', value: { mode: 'fixed', fixedColor } }],
    })),
  }
}

const refId = index => String.fromCharCode(65 + index)
const overTime = query => ({ ...query, range: true, instant: false, editorMode: 'code' })
const now = query => ({ ...query, range: false, instant: true, editorMode: 'code' })
