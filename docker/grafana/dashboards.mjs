// Writes the provisioned dashboards from source/: `node docker/grafana/dashboards.mjs`. A test
// compares the files with this output.
import { mkdirSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { credits } from './source/credits.mjs'
import { traffic } from './source/traffic.mjs'
import { upstream } from './source/upstream.mjs'

/** Returns the text of every dashboard file by its name. */
export function dashboardFiles() {
  const boards = { 'credits.json': credits, 'traffic.json': traffic, 'upstream.json': upstream }
  return Object.fromEntries(
    Object.entries(boards).map(([name, board]) => [name, `${JSON.stringify(board, undefined, 2)}\n`]),
  )
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  const folder = fileURLToPath(new URL('./dashboards', import.meta.url))
  mkdirSync(folder, { recursive: true })
  for (const [name, text] of Object.entries(dashboardFiles())) writeFileSync(join(folder, name), text)
}
