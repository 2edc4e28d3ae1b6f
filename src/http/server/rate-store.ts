import type { FastifyRateLimitStore, FastifyRateLimitStoreCtor } from '@fastify/rate-limit'
import type { RateCounts } from '../../contracts/store.js'

/**
 * Returns the key that @fastify/rate-limit passes to the store. The plugin knows requests only, so
 * the key carries the amount that one request counts as.
 */
export function chargeKey(name: string, amount: number): string {
  return `${amount} ${name}`
}

/** Adapts counts to the store of @fastify/rate-limit. What exceeds a limit is not counted. */
export function rateStoreOf(counts: RateCounts): FastifyRateLimitStoreCtor {
  return class RateStore implements FastifyRateLimitStore {
    incr: FastifyRateLimitStore['incr'] = (key, callback, windowMs, max) => {
      const [amount = '', ...name] = key.split(' ')
      counts.take(name.join(' '), Number(amount), { max, windowMs }).then(
        ({ sum, endsInMs }) => callback(null, { current: sum, ttl: endsInMs }),
        (error: Error) => callback(error),
      )
    }

    /** The names of the limits differ, so they share one store. */
    child(): FastifyRateLimitStore {
      return this
    }
  }
}
