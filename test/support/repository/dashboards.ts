import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'

interface Target {
  refId: string
  expr: string
  legendFormat: string
  datasource: { type: string; uid: string }
  range: boolean
  instant: boolean
}

export interface Panel {
  id: number
  type: string
  title: string
  description?: string
  datasource?: { type: string; uid: string }
  gridPos: { x: number; y: number; w: number; h: number }
  fieldConfig?: { defaults: { unit?: string; thresholds?: unknown }; overrides: { properties: { id: string }[] }[] }
  targets?: Target[]
}

export interface Dashboard {
  uid: string
  title: string
  schemaVersion: number
  editable: boolean
  tags: string[]
  links: Record<string, unknown>[]
  templating: { list: { name: string; query: { query: string } }[] }
  panels: Panel[]
}

type Dashboards = Record<string, Dashboard>

/** A query of a panel and its result. */
export interface Finding {
  state: string
  file: string
  panel?: string
  query: string
  /** Series in the range, and series now. */
  series?: number
  now?: number
}

interface CheckOptions {
  prometheus: string
  dashboards: Dashboards
  rangeSeconds?: number
  team?: string
  without?: string[]
}

/** The exports of docker/grafana/check.mjs, which reports dashboards without data. */
export interface Check {
  readDashboards(): Dashboards
  targetsOf(dashboards: Dashboards): (Target & { file: string; panel: string })[]
  metricsIn(expr: string): string[]
  seriesOf(types: Record<string, string>): Set<string>
  runQueries(options: CheckOptions): Promise<Finding[]>
  unknownMetrics(dashboards: Dashboards, exposed: Set<string>, without?: string[]): Finding[]
  lineOf(finding: Finding): string
}

export function loadCheck(): Promise<Check> {
  return load<Check>('check.mjs')
}

/** Returns the dashboards that docker/grafana/dashboards.mjs would write, by file name. */
export async function writtenDashboards(): Promise<Record<string, string>> {
  const { dashboardFiles } = await load<{ dashboardFiles(): Record<string, string> }>('dashboards.mjs')
  return dashboardFiles()
}

async function load<T>(name: string): Promise<T> {
  return (await import(pathToFileURL(resolve('docker/grafana', name)).href)) as T
}
