import { join } from 'node:path'
import type { StepSpool, Store } from '../storage.js'
import { openEmbeddedStore } from './embedded/embedded-store.js'
import { openDiskSpool } from './embedded/spool.js'
import { createMemorySpool } from './memory-spool.js'
import { openRedisStore } from './redis/redis-store.js'

export interface StoreSettings {
  /** Redis when there is one, else the embedded store under `dataDir`. */
  redisUrl?: { reveal(): string } | undefined
  dataDir: string
  maxBytes: number
  /** What the sandbox answers and charges lies apart: under `dataDir/sandbox`, or under other names in Redis. */
  isSandbox?: boolean
}

const PREFIX = 'segmind-gateway'

export interface OpenedStore {
  store: Store
  /** Where ledger steps wait that the store cannot take. */
  spool: StepSpool
  /** Whether they outlive this process. */
  isSpoolDurable: boolean
  /** For `@fastify/rate-limit`; only Redis is shared by all replicas. */
  rateLimitClient: unknown
}

export interface StoreEvents {
  onUp?(): void
  onDown?(error: unknown): void
  onProblem?(error: unknown, what: string): void
}

/** The folder of what is kept on this machine. */
export function folderOf({ dataDir, isSandbox }: StoreSettings): string {
  return isSandbox ? join(dataDir, 'sandbox') : dataDir
}

/** Opens the store the settings name. Throws when the embedded one cannot be used; a Redis that is down is waited for in the background. */
export async function openStore(settings: StoreSettings, on: StoreEvents = {}): Promise<OpenedStore> {
  const { redisUrl, maxBytes, isSandbox = false } = settings
  const dataDir = folderOf(settings)
  const { onUp, onDown, onProblem = () => {} } = on
  if (!redisUrl) {
    const store = await openEmbeddedStore({ dir: dataDir, maxBytes, onProblem })
    // On the disk that has just failed nothing can wait.
    return { store, spool: createMemorySpool(), isSpoolDurable: false, rateLimitClient: undefined }
  }
  const store = await openRedisStore({
    url: redisUrl.reveal(),
    keyPrefix: isSandbox ? `${PREFIX}-sandbox` : PREFIX,
    ...(onUp ? { onUp } : {}),
    onProblem: (error, what) => (what === 'connection' ? onDown?.(error) : onProblem(error, what)),
  })
  return { store, ...openSpool(dataDir, onProblem), rateLimitClient: store.rateLimitClient }
}

/** A container may have no disk to write on: then steps wait in memory. */
function openSpool(dir: string, onProblem: NonNullable<StoreEvents['onProblem']>) {
  try {
    return { spool: openDiskSpool({ dir }), isSpoolDurable: true }
  } catch (error) {
    onProblem(error, 'spool')
    return { spool: createMemorySpool(), isSpoolDurable: false }
  }
}
