import { readFile } from 'node:fs/promises'
import type { Settings } from '../config/index.js'

/**
 * File handles that callers' connections never use: stores, the teams file, the metrics port and
 * calls to Segmind need them.
 */
const RESERVED_HANDLES = 128
/** Connections that are accepted however few handles there are. */
const LEAST_CONNECTIONS = 16

/**
 * Limits the connections of callers to what the process may open, less a reserve. `isLowered`: to
 * fewer than the setting permits.
 */
export async function connectionLimits(
  { maxConnections, maxConnectionsPerAddress }: Settings['server'],
  openFiles = maxOpenFiles(),
): Promise<{ max: number; maxPerAddress: number; isLowered: boolean }> {
  const possible = Math.max(LEAST_CONNECTIONS, (await openFiles) - RESERVED_HANDLES)
  const max = Math.min(maxConnections || Number.POSITIVE_INFINITY, possible)
  return {
    max: Number.isFinite(max) ? max : 0,
    maxPerAddress: maxConnectionsPerAddress,
    isLowered: max < maxConnections,
  }
}

/** Returns the limit on open files of this process (`ulimit -n`), where the system tells it. */
async function maxOpenFiles(): Promise<number> {
  const limits = await readFile('/proc/self/limits', 'utf8').catch(() => '')
  const [, soft] = /^Max open files +(\d+)/m.exec(limits) ?? []
  return soft === undefined ? Number.POSITIVE_INFINITY : Number(soft)
}
