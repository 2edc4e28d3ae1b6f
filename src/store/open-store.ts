import { createHash } from 'node:crypto'
import { realpathSync } from 'node:fs'
import { join, resolve } from 'node:path'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { LedgerWitness, RateCounts, StepSpool, Store } from '../contracts/store.js'
import { openEmbeddedStore } from './embedded/embedded-store.js'
import { probeFolder } from './embedded/probe.js'
import { openDiskSpool } from './embedded/spool.js'
import { createMemoryRates } from './memory-rates.js'
import { createMemorySpool } from './memory-spool.js'

export interface StoreSettings {
  /** Selects Redis. Without it the embedded store under `dataDir` is used. */
  redisUrl?: { reveal(): string } | undefined
  dataDir: string
  maxBytes: number
  /**
   * Keeps the sandbox's data separate: under `dataDir/sandbox`, or under another key prefix in
   * Redis.
   */
  isSandbox?: boolean
}

const KEY_PREFIX = 'segmind-gateway'
const prefixOf = ({ isSandbox = false }: StoreSettings) => (isSandbox ? `${KEY_PREFIX}-sandbox` : KEY_PREFIX)

export interface OpenedStore {
  store: Store
  /** Ledger steps that wait for the store. */
  spool: StepSpool
  /** True if the waiting steps outlive this process. */
  isSpoolDurable: boolean
  /** Shared by the replicas on one Redis. With the embedded store, each process counts alone. */
  rates: RateCounts
  /**
   * Milliseconds since 1970 for every time that the store keeps: by the clock of Redis, which all
   * replicas share, or of the one machine of the embedded store.
   */
  now: Clock
}

export interface StoreEvents {
  onUp?(): void
  onDown?(error: unknown): void
  onProblem?(error: unknown, what: string): void
}

/** Returns the folder of the data kept on this machine. */
export function folderOf({ dataDir, isSandbox }: StoreSettings): string {
  return isSandbox ? join(dataDir, 'sandbox') : dataDir
}

/**
 * Returns where this machine remembers the ledger, and a digest that tells stores apart: of host,
 * port, database and key prefix in Redis, or of the real path of the embedded ledger.
 */
export function placeOf(settings: StoreSettings): { dir: string; storeId: string } {
  const dir = folderOf(settings)
  const place = settings.redisUrl ? redisPlace(settings.redisUrl.reveal()) : realPath(dir)
  const name = settings.redisUrl ? prefixOf(settings) : 'ledger.mdb'
  const storeId = createHash('sha256').update(`${place}/${name}`).digest('hex').slice(0, 32)
  return { dir, storeId }
}

/** Leaves out the credentials, which may change. */
function redisPlace(url: string): string {
  const { hostname, port, pathname } = new URL(url)
  return `${hostname}:${port || 6379}/${pathname.slice(1) || 0}`
}

function realPath(folder: string): string {
  try {
    return realpathSync(folder)
  } catch {
    return resolve(folder)
  }
}

/**
 * Returns one sentence for a store that cannot serve, may evict the ledger, or has lost it. Creates
 * no file but the lock files of an embedded ledger. `witness` is what this machine has seen of the
 * ledger.
 */
export async function probeStore(
  settings: StoreSettings,
  witness?: LedgerWitness,
  onWarning?: (text: string) => void,
): Promise<string | undefined> {
  if (!settings.redisUrl) return probeFolder(folderOf(settings), witness)
  const { probeRedis } = await import('./redis/probe.js')
  return probeRedis({ url: settings.redisUrl.reveal(), keyPrefix: prefixOf(settings), witness, onWarning })
}

/**
 * Opens the configured store. Throws if the embedded store cannot be used.
 * A Redis that is down is connected later, in the background.
 */
export async function openStore(
  settings: StoreSettings,
  events: StoreEvents = {},
  now: Clock = Date.now,
): Promise<OpenedStore> {
  const { redisUrl, maxBytes } = settings
  const folder = folderOf(settings)
  const { onUp, onDown, onProblem = () => {} } = events
  if (!redisUrl) {
    const store = await openEmbeddedStore({ dir: folder, maxBytes, onProblem })
    // A spool on disk would be of no use: it would fail together with the store.
    return { store, spool: createMemorySpool(), isSpoolDurable: false, rates: createMemoryRates(), now }
  }
  // Loaded only here: the embedded store does without the Redis client.
  const { openRedisStore } = await import('./redis/redis-store.js')
  const store = await openRedisStore({
    url: redisUrl.reveal(),
    now,
    keyPrefix: prefixOf(settings),
    ...defined({ onUp }),
    onProblem: (error, what) => (what === 'connection' ? onDown?.(error) : onProblem(error, what)),
  })
  return { store, ...(await openSpool(folder, onProblem)), rates: store.rates, now: store.now }
}

/** Opens a spool on disk, or in memory where the disk is not writable, as in some containers. */
async function openSpool(dir: string, onProblem: NonNullable<StoreEvents['onProblem']>) {
  try {
    return { spool: await openDiskSpool({ dir }), isSpoolDurable: true }
  } catch (error) {
    onProblem(error, 'spool')
    return { spool: createMemorySpool(), isSpoolDurable: false }
  }
}
