import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import type { WireHeaders } from './wire-money.js'
import type { WireBody } from './wire-request.js'

/** One HTTP request as it is to be sent. */
export interface Outgoing {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  /** JSON. */
  body?: WireBody
  /** Ends the exchange wherever it is. */
  deadline: AbortSignal
  /** Most bytes of an answer that are taken. */
  maxAnswerBytes: number
}

/** What became of one request: how far it got, and as much of the answer as arrived. */
export interface Exchange {
  /** False only when surely not one byte of the request went out. */
  bodySent: boolean
  /** Absent when not even a status arrived. */
  head?: { status: number; headers: WireHeaders }
  body: Buffer
  end: 'complete' | 'too_long' | 'timeout' | 'broken'
  /** What ended it, for anything but `complete` and `too_long`. */
  cause?: unknown
}

/** Longest text of an answer that is no 200 that is worth reading. */
const REFUSAL_BYTES = 64 * 1024

/**
 * Sends one request over a pool and reads the answer into memory; redirects are answers like any other. Never throws: what went
 * wrong, and whether the request may have reached the other side, is in the outcome. Nothing is sent twice here.
 */
export async function exchange(pool: Dispatcher, outgoing: Outgoing): Promise<Exchange> {
  const seen: Seen = { bodySent: false, over: false, chunks: [] }
  try {
    const response = await untilAborted(pool.request(requestOptions(outgoing, seen)), outgoing.deadline)
    seen.head = { status: response.statusCode, headers: response.headers }
    const limit = response.statusCode === 200 ? outgoing.maxAnswerBytes : REFUSAL_BYTES
    const whole = await collect(response.body, seen.chunks, limit)
    return outcome(seen, whole ? 'complete' : 'too_long')
  } catch (cause) {
    return { ...outcome(seen, outgoing.deadline.aborted || isTimeout(cause) ? 'timeout' : 'broken'), cause }
  } finally {
    seen.over = true
  }
}

interface Seen {
  bodySent: boolean
  /** The exchange has ended: a body asked for from now on is not given. */
  over: boolean
  head?: { status: number; headers: WireHeaders }
  chunks: Buffer[]
}

function outcome({ bodySent, head, chunks }: Seen, end: Exchange['end']): Exchange {
  const [first] = chunks
  const body = chunks.length === 1 && first ? first : Buffer.concat(chunks)
  return { bodySent, ...(head && { head }), body, end }
}

function requestOptions(outgoing: Outgoing, seen: Seen): Dispatcher.RequestOptions {
  const { method, path, headers, body, deadline } = outgoing
  if (body === undefined) return { method, path, headers, signal: deadline }
  return {
    method,
    path,
    headers: { ...headers, 'content-type': 'application/json', 'content-length': String(body.byteLength) },
    // An async iterable is a body for undici (Dispatcher.md); its types name only streams.
    body: once(body, seen) as unknown as NonNullable<Dispatcher.RequestOptions['body']>,
    signal: deadline,
  }
}

/**
 * Gives the body when undici asks for it. undici writes the request's headers together with the body's first piece, so until
 * here nothing went out; and only here is the body made, and let go of when the socket has taken it.
 *
 * A keep-alive socket that the other side has closed already may look alive until the event loop has read that: give it one turn to
 * read it and one to close. Then the request has failed (`over`) with nothing sent, and may be sent again.
 */
async function* once(body: WireBody, seen: Seen): AsyncGenerator<Buffer> {
  await nextTurn()
  await nextTurn()
  // Not `return`: undici would take that for an empty body.
  if (seen.over) throw new Error('the connection ended before the body went out')
  const bytes = body.encode()
  seen.bodySent = true
  yield bytes
}

/** Adds the answer's pieces to `chunks`. Answers false, and hangs up, when they exceed the limit. */
async function collect(body: AsyncIterable<Buffer>, chunks: Buffer[], maxBytes: number): Promise<boolean> {
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > maxBytes) return false
    chunks.push(chunk)
  }
  return true
}

/** undici hears an abort only once the request has a socket: one that still waits for a socket has to be left behind. */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

const TIMEOUTS = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
const isTimeout = (cause: unknown): boolean =>
  typeof cause === 'object' && cause !== null && 'code' in cause && TIMEOUTS.has(String(cause.code))
