import { setMaxListeners } from 'node:events'
import { Pool } from 'undici'
import { type Exchange, exchange, type Outgoing } from './exchange.js'
import type { SegmindClientSettings } from './options.js'
import { BALANCE_PATH } from './wire-request.js'

/** The HTTP connections to Segmind. */
export interface SegmindConnection {
  /** Aborted by `stop`: no new request is sent. */
  closing: AbortSignal
  /** Sends one request with the key. */
  send(outgoing: Omit<Outgoing, 'headers'>): Promise<Exchange>
  /** Fetches a resource of Segmind's host without the key. */
  fetch(url: URL, deadline: AbortSignal): Promise<Exchange>
  origin: string
  /** Requests the account balance once; free of charge. */
  balance(): Promise<Exchange>
  stop(): void
  close(): Promise<void>
}

const BALANCE_TIMEOUT_MS = 10_000
const BALANCE_BYTES = 64 * 1024

/** Creates the connection pools. Throws when the address or the key is unusable. */
export function openConnection(settings: SegmindClientSettings): SegmindConnection {
  const { origin, prefix } = addressOf(settings.baseUrl)
  const headers = headersOf(settings.apiKey)
  const { 'x-api-key': _key, ...keylessHeaders } = headers
  const pool = new Pool(origin, poolOptions(settings))
  // A separate pool, so that balance requests do not queue behind calls that take minutes. They are
  // rare, so each opens a new connection.
  const balancePool = new Pool(origin, { ...poolOptions(settings), connections: 1, pipelining: 0 })
  const closing = new AbortController()
  // Every pause and every job adds a listener.
  setMaxListeners(0, closing.signal)
  const balanceTimeoutMs = Math.min(settings.timeoutMs, BALANCE_TIMEOUT_MS)
  return {
    origin,
    closing: closing.signal,
    send: outgoing => exchange(pool, { ...outgoing, headers, path: prefix + outgoing.path }),
    fetch: ({ pathname, search }, deadline) =>
      exchange(pool, {
        method: 'GET',
        path: pathname + search,
        headers: keylessHeaders,
        deadline,
        maxAnswerBytes: settings.maxAnswerBytes,
      }),
    balance: () =>
      exchange(balancePool, {
        method: 'GET',
        path: prefix + BALANCE_PATH,
        headers,
        deadline: settings.deadline(balanceTimeoutMs),
        maxAnswerBytes: BALANCE_BYTES,
      }),
    stop: () => closing.abort(),
    close: async () => void (await Promise.all([pool.destroy(), balancePool.destroy()])),
  }
}

/** Splits a base URL into origin and path prefix. */
export function addressOf(baseUrl: string): { origin: string; prefix: string } {
  const { origin, pathname } = new URL(baseUrl)
  return { origin, prefix: pathname.replace(/\/+$/, '') }
}

/** Returns the headers of every request. Throws for a key that a header cannot carry. */
export function headersOf(apiKey: string): Record<string, string> {
  // Checked once, here, with an error that does not contain the key. undici would throw at every
  // call.
  if (!/^[\x21-\x7e]+$/.test(apiKey)) throw new TypeError('The Segmind key has characters that a header cannot carry.')
  return {
    'x-api-key': apiKey,
    accept: '*/*',
    // Otherwise a proxy might compress the response, which is useless for pictures.
    'accept-encoding': 'identity',
    'user-agent': 'segmind-gateway',
  }
}

function poolOptions({ maxConcurrency, connectTimeoutMs, timeoutMs }: SegmindClientSettings): Pool.Options {
  return {
    connections: maxConcurrency,
    pipelining: 1,
    allowH2: false,
    connect: { timeout: connectTimeoutMs },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    // Shorter than the usual keep-alive of servers, and 2 s shorter than the one Segmind announces,
    // so that a reused connection is rarely closed already.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
    keepAliveTimeoutThreshold: 2_000,
  }
}
