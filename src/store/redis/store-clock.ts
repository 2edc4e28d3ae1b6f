import type { Clock } from '../../contracts/clock.js'
import type { RedisConnection } from './connection.js'

/** Interval of the comparisons with the clock of Redis. */
const SYNC_MS = 10_000
/** A slower answer says too little about the time. */
const MAX_ROUND_TRIP_MS = 1_000

export interface StoreClock {
  /**
   * Milliseconds since 1970 by the clock of Redis, which all replicas share. Before Redis has answered
   * once: by the clock of this machine.
   */
  now: Clock
  /** Compares the clocks. Never rejects: after a failure the last difference stays. */
  sync(): Promise<void>
  stop(): void
}

/**
 * Creates a clock that replicas on machines with different clocks agree on, within the time of half
 * a round trip. Times that one replica writes and another compares must come from it.
 */
export function createStoreClock(connection: Pick<RedisConnection, 'run'>, local: Clock): StoreClock {
  let aheadMs = 0
  const sync = async (): Promise<void> => {
    const sentAt = local()
    try {
      const [seconds, microseconds] = await connection.run(redis => redis.time())
      const receivedAt = local()
      const roundTripMs = receivedAt - sentAt
      // The local clock was set back, or the answer took too long.
      if (roundTripMs < 0 || roundTripMs > MAX_ROUND_TRIP_MS) return
      aheadMs = Math.round(Number(seconds) * 1000 + Number(microseconds) / 1000 - (sentAt + receivedAt) / 2)
    } catch {
      // The connection reports its failures itself.
    }
  }
  const timer = setInterval(() => void sync(), SYNC_MS).unref()
  return { now: () => local() + aheadMs, sync, stop: () => clearInterval(timer) }
}
