import { GatewayError } from '../errors.js'

const RETRY_AFTER_SECONDS = 5

/** Where the store itself was asked for something, its failure is the answer. Throws `store_unavailable`; `what` begins its sentence. */
export async function fromStore<T>(what: string, asked: Promise<T>): Promise<T> {
  try {
    return await asked
  } catch (cause) {
    if (cause instanceof GatewayError) throw cause
    const detail = `${what}: the store does not answer.`
    throw new GatewayError('store_unavailable', detail, { retryAfterSeconds: RETRY_AFTER_SECONDS, cause })
  }
}
