import { GatewayProblem, networkProblem, problemIn } from './problem.js'

/** Where the gateway is, and how patient the client is with it. */
export interface Connection {
  /** Without a slash at the end. */
  url: string
  key: string
  fetch: typeof fetch
  /** Whether `fetch` is the caller's; a browser's own other means are left alone then. */
  isFetchGiven: boolean
  /** How often a request is sent at most. */
  attempts: number
  /** A longer `Retry-After` is not waited for. */
  maxRetryAfterSeconds: number
  wait(ms: number, signal: AbortSignal | undefined): Promise<void>
}

export interface Outgoing {
  method: string
  path: string
  headers: Record<string, string>
  signal: AbortSignal | undefined
  /** Whether it may be sent again where nobody knows what became of it. */
  isRepeatable: boolean
  body?: string
  /** Another way than `fetch` to send it. */
  send?(headers: Record<string, string>): Promise<Response>
}

const FIRST_PAUSE_MS = 1_000

/**
 * Sends a request and reads its answer; again only what the gateway says is worth it (`retryable`), after the time it says. An answer that breaks off
 * while it is read counts as none. Throws `GatewayProblem`, or the signal's reason.
 */
export async function send<T>(
  connection: Connection,
  outgoing: Outgoing,
  read: (response: Response) => T | Promise<T>,
): Promise<T> {
  for (let attempt = 1; ; attempt++) {
    outgoing.signal?.throwIfAborted()
    const outcome = await sendOnce(connection, outgoing, read)
    if (!(outcome instanceof GatewayProblem)) return outcome.answer
    const pauseMs = pauseAfter(outcome, attempt, connection)
    if (pauseMs === undefined || !(outgoing.isRepeatable || isOfKnownFate(outcome))) throw outcome
    await connection.wait(pauseMs, outgoing.signal)
  }
}

async function sendOnce<T>(
  connection: Connection,
  outgoing: Outgoing,
  read: (response: Response) => T | Promise<T>,
): Promise<{ answer: T } | GatewayProblem> {
  const { method, path, signal, body } = outgoing
  const headers = { ...outgoing.headers, 'x-api-key': connection.key }
  try {
    const init = { method, headers, signal: signal ?? null, ...(body !== undefined && { body }) }
    const response = await (outgoing.send ? outgoing.send(headers) : connection.fetch(connection.url + path, init))
    if (response.ok) return { answer: await read(response) }
    const problem = await problemIn(response)
    signal?.throwIfAborted()
    return problem
  } catch (error) {
    signal?.throwIfAborted()
    return error instanceof GatewayProblem ? error : networkProblem(error)
  }
}

/** The gateway itself has spoken; of silence, or of a proxy's words, nobody knows what they cost. */
function isOfKnownFate({ code }: GatewayProblem): boolean {
  return code !== 'network' && code !== 'unreadable_answer'
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
