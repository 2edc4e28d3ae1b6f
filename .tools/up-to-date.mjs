import { existsSync, readdirSync, statSync } from 'node:fs'
import { join } from 'node:path'

/** Tells whether `stamp` exists and no source, a file or folder, has changed after it. */
export function isUpToDate(stamp, sources) {
  return existsSync(stamp) && sources.every(source => changedAt(source) <= statSync(stamp).mtimeMs)
}

/** Returns the latest change below a path. Removing or renaming a file changes its folder. */
function changedAt(path) {
  const stat = statSync(path)
  if (!stat.isDirectory()) return stat.mtimeMs
  return Math.max(stat.mtimeMs, ...readdirSync(path).map(name => changedAt(join(path, name))))
}
