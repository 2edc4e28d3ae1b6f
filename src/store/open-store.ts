import type { Store } from '../storage.js'
import { openEmbeddedStore } from './embedded/embedded-store.js'
import { openRedisStore } from './redis/redis-store.js'

export interface StoreSettings {
  /** Redis when there is one, else the embedded store under `dataDir`. */
  redisUrl?: { reveal(): string } | undefined
  dataDir: string
  maxBytes: number
}

export interface OpenedStore {
  store: Store
  /** For `@fastify/rate-limit`; only Redis is shared by all replicas. */
  rateLimitClient: unknown
}

/** Opens the store the settings name. Throws when the embedded one cannot be used; a Redis that is down is waited for in the background. */
export async function openStore(
  settings: StoreSettings,
  on: { onUp?(): void; onDown?(error: unknown): void; onProblem?(error: unknown, what: string): void } = {},
): Promise<OpenedStore> {
  const { redisUrl, dataDir, maxBytes } = settings
  const { onUp, onDown, onProblem = () => {} } = on
  if (!redisUrl)
    return { store: await openEmbeddedStore({ dir: dataDir, maxBytes, onProblem }), rateLimitClient: undefined }
  const store = await openRedisStore({
    url: redisUrl.reveal(),
    ...(onUp ? { onUp } : {}),
    onProblem: (error, what) => (what === 'connection' ? onDown?.(error) : onProblem(error, what)),
  })
  return { store, rateLimitClient: store.rateLimitClient }
}
