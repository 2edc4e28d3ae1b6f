import { setMaxListeners } from 'node:events'
import { Pool } from 'undici'
import { type Exchange, exchange, type Outgoing } from './exchange.js'
import type { Settings } from './options.js'
import { BALANCE_PATH } from './wire-request.js'

/** The connections to Segmind. */
export interface Line {
  /** Aborted: nothing new is sent. */
  closing: AbortSignal
  /** Sends one request with the key. */
  send(outgoing: Omit<Outgoing, 'headers'>): Promise<Exchange>
  /** Fetches something that lies there, without it. */
  fetch(url: URL, deadline: AbortSignal): Promise<Exchange>
  origin: string
  /** Asks for the account's balance, once; free of charge. */
  balance(): Promise<Exchange>
  stop(): void
  close(): Promise<void>
}

const BALANCE_TIMEOUT_MS = 10_000
const BALANCE_BYTES = 64 * 1024

/** Opens them. Throws when the address or the key cannot be used. */
export function openLine(settings: Settings): Line {
  const { origin, prefix } = addressOf(settings.baseUrl)
  const headers = headersOf(settings.apiKey)
  const { 'x-api-key': _key, ...keyless } = headers
  const pool = new Pool(origin, poolOptions(settings))
  // A connection of its own, or the balance would wait behind calls that take minutes; fresh each time, for it is asked for rarely.
  const balancePool = new Pool(origin, { ...poolOptions(settings), connections: 1, pipelining: 0 })
  const closing = new AbortController()
  // One for each pause and each job.
  setMaxListeners(0, closing.signal)
  const timeoutMs = Math.min(settings.timeoutMs, BALANCE_TIMEOUT_MS)
  return {
    origin,
    closing: closing.signal,
    send: outgoing => exchange(pool, { ...outgoing, headers, path: prefix + outgoing.path }),
    fetch: ({ pathname, search }, deadline) => {
      const { maxAnswerBytes } = settings
      return exchange(pool, { method: 'GET', path: pathname + search, headers: keyless, deadline, maxAnswerBytes })
    },
    balance: () => {
      const request = { deadline: settings.deadline(timeoutMs), maxAnswerBytes: BALANCE_BYTES }
      return exchange(balancePool, { method: 'GET', path: prefix + BALANCE_PATH, headers, ...request })
    },
    stop: () => closing.abort(),
    close: async () => void (await Promise.all([pool.destroy(), balancePool.destroy()])),
  }
}

function addressOf(baseUrl: string): { origin: string; prefix: string } {
  const { origin, pathname } = new URL(baseUrl)
  return { origin, prefix: pathname.replace(/\/+$/, '') }
}

function headersOf(apiKey: string): Record<string, string> {
  // Said here and without the value: undici would say it at every call.
  if (!/^[\x21-\x7e]+$/.test(apiKey)) throw new TypeError('The Segmind key has characters that a header cannot carry.')
  return {
    'x-api-key': apiKey,
    accept: '*/*',
    // Without it, a proxy in between may compress, which does nothing for a picture.
    'accept-encoding': 'identity',
    'user-agent': 'segmind-gateway',
  }
}

function poolOptions({ maxConcurrency, connectTimeoutMs, timeoutMs }: Settings): Pool.Options {
  return {
    connections: maxConcurrency,
    pipelining: 1,
    allowH2: false,
    connect: { timeout: connectTimeoutMs },
    headersTimeout: timeoutMs,
    bodyTimeout: timeoutMs,
    // Below what servers usually keep, and 2 s below what this one promises: a reused connection is rarely a dead one.
    keepAliveTimeout: 4_000,
    keepAliveMaxTimeout: 30_000,
    keepAliveTimeoutThreshold: 2_000,
  }
}
