import { getDefaultHighWaterMark } from 'node:stream'
import { setImmediate as nextIteration } from 'node:timers/promises'
import type { Dispatcher } from 'undici'
import { defined } from '../contracts/defined.js'
import { freeMemory } from '../images/byte-collector.js'
import type { WireBody } from './wire-request.js'
import type { WireHeaders } from './wire-response.js'

/** One HTTP request to send. */
export interface Outgoing {
  method: 'GET' | 'POST'
  path: string
  headers: Record<string, string>
  /** JSON. */
  body?: WireBody
  /** Ends the exchange at any stage. */
  deadline: AbortSignal
  /** Largest response body that is accepted. */
  maxAnswerBytes: number
}

/** Result of one request: how far it got, and as much of the response as arrived. */
export interface Exchange {
  /** False only when certainly no byte of the request was sent. */
  bodySent: boolean
  /** Absent when no status arrived. */
  head?: { status: number; headers: WireHeaders }
  body: Buffer
  end: 'complete' | 'too_long' | 'timeout' | 'broken'
  /** The error behind `timeout` and `broken`. */
  cause?: unknown
}

const SOCKET_BUFFER_BYTES = getDefaultHighWaterMark(false)
/** Limit for the body of a response other than 200. */
const ERROR_BODY_BYTES = 64 * 1024

/**
 * Sends one request over a pool, once, and reads the response into memory. Redirects are responses
 * like any other. Never throws: the result says what failed and whether the request may have
 * reached Segmind.
 */
export async function exchange(pool: Dispatcher, outgoing: Outgoing): Promise<Exchange> {
  const progress: Progress = { bodySent: false, isOver: false, chunks: [] }
  try {
    const response = await untilAborted(pool.request(requestOptions(outgoing, progress)), outgoing.deadline)
    progress.head = { status: response.statusCode, headers: response.headers }
    const limit = response.statusCode === 200 ? outgoing.maxAnswerBytes : ERROR_BODY_BYTES
    const isWhole = await collect(response.body, progress.chunks, limit)
    return resultOf(progress, isWhole ? 'complete' : 'too_long')
  } catch (cause) {
    return { ...resultOf(progress, outgoing.deadline.aborted || isTimeout(cause) ? 'timeout' : 'broken'), cause }
  } finally {
    progress.isOver = true
  }
}

interface Progress {
  bodySent: boolean
  /** The exchange has ended, so the body must not be sent. */
  isOver: boolean
  head?: { status: number; headers: WireHeaders }
  chunks: Buffer[]
}

function resultOf({ bodySent, head, chunks }: Progress, end: Exchange['end']): Exchange {
  const [first] = chunks
  if (chunks.length === 1 && first) return { bodySent, ...defined({ head }), body: first, end }
  const body = Buffer.concat(chunks)
  for (const chunk of chunks) if (chunk.length === chunk.buffer.byteLength) freeMemory(chunk)
  return { bodySent, ...defined({ head }), body, end }
}

function requestOptions(outgoing: Outgoing, progress: Progress): Dispatcher.RequestOptions {
  const { method, path, headers, body, deadline } = outgoing
  if (body === undefined) return { method, path, headers, signal: deadline }
  return {
    method,
    path,
    headers: { ...headers, 'content-type': 'application/json', 'content-length': String(body.byteLength) },
    // undici accepts an async iterable as a body (Dispatcher.md); its types name only streams.
    body: lazyBody(body, progress) as unknown as NonNullable<Dispatcher.RequestOptions['body']>,
    signal: deadline,
  }
}

/**
 * Encodes the body when undici requests it. undici writes the request headers together with the
 * first chunk of the body. So no byte is sent before this generator yields, and the encoded body
 * lives only until the socket has taken it.
 *
 * A keep-alive socket that Segmind has already closed can look alive until the event loop has read
 * the close. Two iterations, one to read and one to close, let undici notice. Then the
 * exchange is over with nothing sent, and the request may be sent again.
 */
async function* lazyBody(body: WireBody, progress: Progress): AsyncGenerator<Buffer> {
  await nextIteration()
  await nextIteration()
  // Not `return`: undici would send an empty body.
  if (progress.isOver) throw new Error('the connection ended before the body was sent')
  const bytes = body.encode()
  progress.bodySent = true
  yield bytes
  // undici asks for more once the socket has taken all of a body that is larger than its buffer.
  if (bytes.length > SOCKET_BUFFER_BYTES) freeMemory(bytes)
}

/**
 * Appends the response body to `chunks`. Returns false, and closes the connection, when it exceeds
 * the limit.
 */
async function collect(body: AsyncIterable<Buffer>, chunks: Buffer[], maxBytes: number): Promise<boolean> {
  let bytes = 0
  for await (const chunk of body) {
    bytes += chunk.length
    if (bytes > maxBytes) return false
    chunks.push(chunk)
  }
  return true
}

/**
 * Rejects on abort. undici itself reacts to an abort only once the request has a socket, not while
 * it waits for one.
 */
function untilAborted<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise<T>((resolve, reject) => {
    const abort = () => reject(signal.reason)
    if (signal.aborted) abort()
    signal.addEventListener('abort', abort, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', abort))
  })
}

const TIMEOUT_CODES = new Set(['UND_ERR_HEADERS_TIMEOUT', 'UND_ERR_BODY_TIMEOUT'])
const isTimeout = (cause: unknown): boolean =>
  typeof cause === 'object' && cause !== null && 'code' in cause && TIMEOUT_CODES.has(String(cause.code))
