import { GatewayProblem, networkProblem, readProblem } from './problem.js'

export interface Connection {
  /** URL of the gateway without a trailing slash. */
  url: string
  key: string
  fetch: typeof fetch
  /** The caller passed `fetch`, so `XMLHttpRequest` must not be used. */
  isFetchCustom: boolean
  /** Maximum number of attempts for one request. */
  attempts: number
  /** Longest `Retry-After` to wait for. */
  maxRetryAfterSeconds: number
  wait(ms: number, signal: AbortSignal | undefined): Promise<void>
}

export interface Outgoing {
  method: string
  path: string
  headers: Record<string, string>
  signal: AbortSignal | undefined
  /** The request can be repeated even if the outcome of the first attempt is unknown. */
  isIdempotent: boolean
  body?: string
  /** Sends the request instead of `fetch`. */
  send?(headers: Record<string, string>): Promise<Response>
}

const FIRST_DELAY_MS = 1_000

/**
 * Sends a request and reads its response. Retries what the gateway marks as retryable, after the
 * time it sets. A response that breaks off while it is read is a network failure. Throws
 * `GatewayProblem`, or the reason of the aborted signal.
 */
export async function send<T>(
  connection: Connection,
  outgoing: Outgoing,
  read: (response: Response) => T | Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    outgoing.signal?.throwIfAborted()
    const outcome = await sendOnce(connection, outgoing, read)
    if (!(outcome instanceof GatewayProblem)) return outcome.value
    const delayMs = retryDelayMs(outcome, attempt, connection)
    if (delayMs === undefined || !(outgoing.isIdempotent || isOutcomeKnown(outcome))) throw outcome
    await connection.wait(delayMs, outgoing.signal)
  }
}

async function sendOnce<T>(
  connection: Connection,
  outgoing: Outgoing,
  read: (response: Response) => T | Promise<T>,
): Promise<{ value: T } | GatewayProblem> {
  const { method, path, signal, body } = outgoing
  const headers = { ...outgoing.headers, 'x-api-key': connection.key }
  try {
    const init = { method, headers, signal: signal ?? null, ...(body !== undefined && { body }) }
    const response = await (outgoing.send ? outgoing.send(headers) : connection.fetch(connection.url + path, init))
    if (response.ok) return { value: await read(response) }
    const problem = await readProblem(response)
    signal?.throwIfAborted()
    return problem
  } catch (error) {
    signal?.throwIfAborted()
    return error instanceof GatewayProblem ? error : networkProblem(error)
  }
}

/** Returns false if no response came, or one of a proxy: such a request may have been charged. */
function isOutcomeKnown({ code }: GatewayProblem): boolean {
  return code !== 'network' && code !== 'unreadable_answer'
}

/** Returns the delay before the next attempt, or undefined to give up. Backs off with jitter. */
function retryDelayMs(problem: GatewayProblem, attempt: number, connection: Connection): number | undefined {
  const { retryable, retryAfterSeconds } = problem
  if (!retryable || attempt >= connection.attempts) return undefined
  if (retryAfterSeconds === undefined) return FIRST_DELAY_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2)
  return retryAfterSeconds > connection.maxRetryAfterSeconds ? undefined : retryAfterSeconds * 1000
}

/** Waits. Rejects with the signal's reason as soon as it is aborted. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    if (signal?.aborted) return reject(signal.reason)
    const abort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    signal?.addEventListener('abort', abort, { once: true })
  })
}
