import type { Store } from '../../storage.js'
import { createBlobs } from './blobs.js'
import { connect } from './connection.js'
import { channelUnder, createLeases } from './leases.js'
import { createLedger } from './ledger.js'
import { listenForNotices } from './notices.js'
import { createRateLimitClient, type RateLimitClient } from './rate-limit-client.js'
import { createRecords } from './records.js'

export interface RedisStoreOptions {
  /** `redis://` or `rediss://`. */
  url: string
  /** How long the connection may be silent while a command waits, before Redis counts as frozen. Default 200. */
  commandSilenceMs?: number
  /** How long it may be silent altogether before it is given up and made anew. Default 3000. */
  reconnectSilenceMs?: number
  /** How long a Redis that is new or was emptied gives holders of leases elsewhere to say so. Default 3000. */
  settleMs?: number
  /** Every key begins with it. Default `segmind-gateway`. */
  keyPrefix?: string
  /** Redis answers: at first, and each time it is back. */
  onUp?(): void
  /** Told when Redis goes down (`connection`, once each time) and of values that cannot be read (`blob`). */
  onProblem?(error: unknown, what: 'connection' | 'blob'): void
}

export interface RedisStore extends Store {
  /** For `@fastify/rate-limit`, option `redis`, together with `skipOnError: true`. */
  readonly rateLimitClient: RateLimitClient
}

/**
 * Opens the store shared by all replicas. Resolves even when Redis is down (at the latest after a second) and keeps connecting in the
 * background. While Redis is stopped every method rejects at once; while it is frozen the first to notice waits `commandSilenceMs`.
 * Throws for a malformed URL.
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { keyPrefix = 'segmind-gateway', settleMs = 3_000, onProblem = () => undefined, onUp, ...line } = options
  const notices = listenForNotices(options.url, channelUnder(keyPrefix))
  let begin: (() => Promise<void>) | undefined
  const connection = await connect({
    ...line,
    onUp() {
      void begin?.()
      onUp?.()
    },
    onDown: reason => onProblem(new Error(reason), 'connection'),
  })
  const leases = createLeases({ connection, notices, prefix: keyPrefix, settleMs })
  begin = leases.begin
  await begin()
  return {
    results: createBlobs({ connection, prefix: `${keyPrefix}:result`, onProblem }),
    images: createBlobs({ connection, prefix: `${keyPrefix}:image`, onProblem }),
    requests: createBlobs({ connection, prefix: `${keyPrefix}:request`, onProblem }),
    ledger: createLedger(connection, keyPrefix),
    records: createRecords(connection, `${keyPrefix}:record`),
    leases,
    rateLimitClient: createRateLimitClient(connection, `${keyPrefix}:rate`),
    isUp: connection.isUp,
    // Redis tells how much all its keys take, not these: not known is better than wrong.
    size: async () => undefined,
    async close() {
      notices.close()
      await connection.close()
    },
  }
}
