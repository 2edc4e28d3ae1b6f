import { GatewayProblem, networkProblem, problemIn } from './problem.js'

/** Where the gateway is, and how patient the client is with it. */
export interface Connection {
  /** Without a slash at the end. */
  url: string
  key: string
  fetch: typeof fetch
  /** How often a request is sent at most. */
  attempts: number
  /** A longer `Retry-After` is not waited for. */
  maxRetryAfterSeconds: number
  wait(ms: number, signal: AbortSignal | undefined): Promise<void>
}

export interface Outgoing {
  method: string
  path: string
  headers?: Record<string, string>
  signal?: AbortSignal | undefined
  /** Whether it may be sent again where nobody knows what became of it. */
  isRepeatable: boolean
  /** The body, and another way than `fetch` to send it; made anew for every attempt. */
  body?(): string
  send?(headers: Record<string, string>): Promise<Response>
}

const FIRST_PAUSE_MS = 1_000

/**
 * Sends a request, and again only what the gateway says is worth it (`retryable`), after the time it says. Answers the response of success, 202 and 304
 * included. Throws `GatewayProblem`, or the signal's reason.
 */
export async function send(connection: Connection, outgoing: Outgoing): Promise<Response> {
  for (let attempt = 1; ; attempt++) {
    outgoing.signal?.throwIfAborted()
    const outcome = await sendOnce(connection, outgoing)
    if (!(outcome instanceof GatewayProblem)) return outcome
    const pauseMs = pauseAfter(outcome, attempt, connection)
    const mayRepeat = outcome.code !== 'network' || outgoing.isRepeatable
    if (!mayRepeat || pauseMs === undefined) throw outcome
    await connection.wait(pauseMs, outgoing.signal)
  }
}

async function sendOnce(connection: Connection, outgoing: Outgoing): Promise<Response | GatewayProblem> {
  const { url, key } = connection
  const { method, path, signal, body } = outgoing
  const headers = { ...outgoing.headers, 'x-api-key': key }
  try {
    const init = { method, headers, signal: signal ?? null, ...(body && { body: body() }) }
    const response = await (outgoing.send ? outgoing.send(headers) : connection.fetch(url + path, init))
    return response.ok || response.status === 304 ? response : await problemIn(response)
  } catch (error) {
    signal?.throwIfAborted()
    return networkProblem(error)
  }
}

/** Milliseconds until the next attempt; undefined where there shall be none. Without word from the gateway the pauses double, with some chance in them. */
function pauseAfter(problem: GatewayProblem, attempt: number, connection: Connection): number | undefined {
  const { retryable, retryAfterSeconds } = problem
  if (!retryable || attempt >= connection.attempts) return undefined
  if (retryAfterSeconds === undefined) return FIRST_PAUSE_MS * 2 ** (attempt - 1) * (0.5 + Math.random() / 2)
  return retryAfterSeconds > connection.maxRetryAfterSeconds ? undefined : retryAfterSeconds * 1000
}

/** Waits; rejects with the signal's reason as soon as that is aborted. */
export function pause(ms: number, signal: AbortSignal | undefined): Promise<void> {
  return new Promise((resolve, reject) => {
    const abort = () => {
      clearTimeout(timer)
      reject(signal?.reason)
    }
    const timer = setTimeout(() => {
      signal?.removeEventListener('abort', abort)
      resolve()
    }, ms)
    if (signal?.aborted) abort()
    signal?.addEventListener('abort', abort, { once: true })
  })
}
