import { readdirSync, renameSync, rmSync } from 'node:fs'
import { basename, join } from 'node:path'
import { type BlobIndex, openBlobIndex } from './blob-index.js'
import type { EmbeddedBlobsOptions } from './blobs.js'
import { damageOf, type Environment, openEnvironment } from './environment.js'

const GIBIBYTE = 2 ** 30
/** Address space of the ledger: room for tens of millions of calls at about 500 bytes each. */
const LEDGER_MAP_BYTES = 16 * GIBIBYTE

/**
 * Opens `ledger.mdb`, and its databases with `openParts`. A damaged file is never replaced: its
 * bookings may be recovered from a backup.
 */
export async function openLedgerFile<T>(
  dir: string,
  openParts: (environment: Environment) => Promise<T>,
): Promise<{ environment: Environment; parts: T }> {
  const path = join(dir, 'ledger.mdb')
  const damage = damageOf(path)
  if (damage !== undefined) throw damagedLedger(path, damage)
  try {
    return await openEnvironment(dir, 'ledger', LEDGER_MAP_BYTES, openParts)
  } catch (error) {
    const found = damageIn(error)
    throw found === undefined ? error : damagedLedger(path, found)
  }
}

function damagedLedger(path: string, damage: string): Error {
  return new Error(
    `the ledger ${path} cannot be opened: ${damage}. It was left as it is. Restore it from a backup, or move it away ` +
      'to start with an empty ledger, and then run `segmind-gateway ledger accept`',
  )
}

interface BlobFile {
  environment: Environment
  parts: BlobIndex
}

type Background = Pick<EmbeddedBlobsOptions, 'now' | 'onProblem'>

/** Opens `blobs.mdb`. A damaged one is set aside, and an empty one takes its place. */
export async function openBlobFile(dir: string, maxBytes: number, background: Background): Promise<BlobFile> {
  const mapBytes = maxBytes * 4 + GIBIBYTE
  const path = join(dir, 'blobs.mdb')
  const damage = damageOf(path)
  if (damage !== undefined) setAside(path, damage, background)
  try {
    return await openEnvironment(dir, 'blobs', mapBytes, openIndex)
  } catch (error) {
    const found = damageIn(error)
    if (found === undefined) throw error
    setAside(path, found, background)
    return openEnvironment(dir, 'blobs', mapBytes, openBlobIndex)
  }
}

/** Opens the index, and reads its size and its orders, so that damage is found at the start. */
function openIndex(environment: Environment): BlobIndex {
  const index = openBlobIndex(environment)
  environment.read(() => [index.size(), index.peakBytes(), index.nextVictim(0, true), index.keys('', 1)])
  return index
}

/**
 * LMDB's numbers for a page that is not found, corrupted contents, a fatal error, a wrong version,
 * a file that is none of LMDB's, an incompatible database, and a transaction that met damage.
 */
const DAMAGE_CODES: unknown[] = [-30_797, -30_796, -30_795, -30_794, -30_793, -30_784, -30_782]

/**
 * Returns what is wrong with a file if an error shows damage. Errors of the system, such as those
 * of a full disk, have other codes. Errors of decoding have none.
 */
function damageIn(error: unknown): string | undefined {
  const { code, message } = ((error as Error).cause ?? error) as { code?: unknown; message: string }
  return code === undefined || DAMAGE_CODES.includes(code) ? `the file is damaged: ${message}` : undefined
}

/** Renames a damaged cache file. Keeps only the newest of such files. */
function setAside(path: string, damage: string, { now, onProblem }: Background): void {
  const kept = `${path}.damaged-${now()}`
  renameSync(path, kept)
  rmSync(`${path}-lock`, { force: true })
  removeOlder(path, kept)
  onProblem(new Error(`the cache starts empty: ${damage}; it was kept as ${kept}`), 'damaged cache')
}

function removeOlder(path: string, kept: string): void {
  const dir = join(path, '..')
  for (const name of readdirSync(dir)) {
    const isOlder = name.startsWith(`${basename(path)}.damaged-`) && name !== basename(kept)
    if (isOlder) rmSync(join(dir, name), { force: true })
  }
}
