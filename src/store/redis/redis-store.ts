import type { Clock } from '../../contracts/clock.js'
import { defined } from '../../contracts/defined.js'
import { type RateCounts, type Store, StoreError } from '../../contracts/store.js'
import { createBlobs } from './blobs.js'
import { connect } from './connection.js'
import { createLeases, releaseChannel } from './leases.js'
import { createLedger } from './ledger.js'
import { ledgerKeys } from './ledger-keys.js'
import { openNotifications } from './notifications.js'
import { createRates } from './rates.js'
import { createRecords } from './records.js'
import { createSchedule } from './schedule.js'
import { createStoreClock, type StoreClock } from './store-clock.js'

export interface RedisStoreOptions {
  /** `redis://` or `rediss://`. */
  url: string
  /**
   * Silence on the connection, while a command waits, after which Redis counts as frozen. Default
   * 200.
   */
  commandSilenceMs?: number
  /** Silence after which the connection is closed and opened again. Default 3000. */
  reconnectSilenceMs?: number
  /** Interval of the checks that Redis can serve. Default 1000; one in ten writes, while it can. */
  checkMs?: number
  /**
   * Time that an empty Redis gives holders of leases to renew them before it grants new ones.
   * Default 3000.
   */
  recoveryMs?: number
  /** Prefix of every key. Default `segmind-gateway`. */
  keyPrefix?: string
  /** The clock of this machine. */
  now?: Clock
  /** Called when Redis first answers, and each time it answers again. */
  onUp?(): void
  /**
   * Called once each time Redis goes down (`connection`), for each value that cannot be read
   * (`blob`), and once if the policy of evictions cannot be read (`policy`).
   */
  onProblem?(error: unknown, what: 'connection' | 'blob' | 'policy'): void
}

export interface RedisStore extends Store {
  readonly rates: RateCounts
  /** The clock of Redis, which all replicas share. */
  readonly now: Clock
}

/**
 * Opens the store shared by all replicas. Resolves within a second even when Redis is down, and
 * keeps connecting in the background. While Redis is down every method rejects at once. When Redis
 * freezes, the operations under way reject after `commandSilenceMs`. Throws for a malformed URL.
 */
export async function openRedisStore(options: RedisStoreOptions): Promise<RedisStore> {
  const { url, keyPrefix = 'segmind-gateway', recoveryMs = 3_000, onProblem = () => undefined } = options
  const { commandSilenceMs, reconnectSilenceMs, checkMs, now = Date.now } = options
  const channel = releaseChannel(keyPrefix)
  const notifications = openNotifications(url, channel)
  let startLeases: (() => Promise<void>) | undefined
  let clock: StoreClock | undefined
  const connection = await connect({
    url,
    probeKey: ledgerKeys(keyPrefix).probe,
    ...defined({ commandSilenceMs, reconnectSilenceMs, checkMs }),
    onUp() {
      void clock?.sync()
      void startLeases?.()
      options.onUp?.()
    },
    onPolicyUnreadable: warning => onProblem(new StoreError(warning), 'policy'),
    onDown: reason => onProblem(new StoreError(reason), 'connection'),
  })
  clock = createStoreClock(connection, now)
  await clock.sync()
  const results = `${keyPrefix}:result`
  const resultKey = (name: string) => `${results}:${name}`
  const leases = createLeases({ connection, notifications, prefix: keyPrefix, resultKey, recoveryMs })
  startLeases = leases.start
  await startLeases()
  return {
    results: createBlobs({ connection, prefix: results, onProblem }),
    images: createBlobs({ connection, prefix: `${keyPrefix}:image`, onProblem }),
    requests: createBlobs({ connection, prefix: `${keyPrefix}:request`, onProblem }),
    ledger: createLedger(connection, keyPrefix),
    records: createRecords(connection, `${keyPrefix}:record`),
    leases,
    rates: createRates(connection, `${keyPrefix}:rate`),
    schedule: createSchedule({ connection, notifications, prefix: keyPrefix, channel }),
    now: clock.now,
    isUp: connection.isUp,
    mayEvict: connection.mayEvict,
    // Redis reports the size of all its keys, not of these alone. An unknown size is better than a
    // wrong one.
    size: async () => undefined,
    async close() {
      clock.stop()
      notifications.close()
      await connection.close()
    },
  }
}
