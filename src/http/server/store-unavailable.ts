import { GatewayError } from '../../contracts/errors.js'
import { StoreError } from '../../contracts/store.js'

const RETRY_AFTER_SECONDS = 5

/**
 * Waits for a store operation that the answer depends on. Throws `store_unavailable`, with
 * `failure` in its detail.
 */
export async function orStoreUnavailable<T>(operation: Promise<T>, failure: string): Promise<T> {
  try {
    return await operation
  } catch (cause) {
    if (!(cause instanceof StoreError)) throw cause
    const detail = `${failure}: the store does not respond. Try again later.`
    throw new GatewayError('store_unavailable', detail, { retryAfterSeconds: RETRY_AFTER_SECONDS, cause })
  }
}
