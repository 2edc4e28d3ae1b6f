import { setTimeout as sleep } from 'node:timers/promises'
import { Pool } from 'undici'
import { type ErrorCode, GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { Upstream, UpstreamOutcome } from '../segment/ports.js'
import type { ImageBytes, Params } from '../segment/types.js'
import { exchange, type Outgoing } from './exchange.js'
import { sendAgain } from './retry.js'
import { judge, type Verdict } from './verdict.js'
import { readBalance } from './wire-money.js'
import { refusalError } from './wire-refusal.js'
import { BALANCE_PATH, SEGMENT_PATH, segmentBody } from './wire-request.js'

/** What came of one request to Segmind, for the metrics; a call that is retried has several. */
export interface UpstreamAttempt {
  code: 'ok' | ErrorCode
  /** Absent when no status arrived. */
  status?: number
  durationMs: number
}

export interface SegmindClientOptions {
  /** `SEGMIND_BASE_URL`; its path, if any, goes before Segmind's own. */
  baseUrl: string
  apiKey: string
  /** For a whole call: waiting for a connection, every attempt, the pauses between them, the answer's body. */
  timeoutMs: number
  connectTimeoutMs?: number
  /** Most calls on the wire at once; more wait inside for a connection. */
  maxConcurrency: number
  /** Most times one call is sent, the first included. */
  maxAttempts?: number
  /** Largest answer that is taken. */
  maxAnswerBytes?: number
  onAttempt?: (attempt: UpstreamAttempt) => void
  /** Milliseconds since 1970. */
  now?: () => number
  random?: () => number
  /** Ends early, without failing, when the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  /** A signal that is aborted when the time is over. */
  deadline?: (timeoutMs: number) => AbortSignal
}

export interface SegmindClient extends Upstream {
  /** Asks for the account's balance, once; free of charge. Throws `upstream_*`. */
  balance(): Promise<{ remaining: Nanocredits }>
  /** Calls of `segment` that have not ended. */
  readonly inFlight: number
  /** Takes no new call, tries none again, and ends when every call has ended: after `timeoutMs` at the latest. */
  close(): Promise<void>
}

const DEFAULTS = {
  connectTimeoutMs: 10_000,
  maxAttempts: 3,
  maxAnswerBytes: 64 * 1024 * 1024,
  now: Date.now,
  random: Math.random,
  wait: (ms: number, signal: AbortSignal): Promise<void> => sleep(ms, undefined, { signal }).catch(() => {}),
  deadline: (timeoutMs: number): AbortSignal => AbortSignal.timeout(timeoutMs),
}

const BALANCE_TIMEOUT_MS = 10_000
const BALANCE_BYTES = 64 * 1024

/**
 * The client of Segmind's `sam-v2-image` (SEGMIND.md). A call is sent again only where that cannot be paid for twice: when surely
 * nothing of it went out, or after 429 and 503 (never billed), in all at most `maxAttempts` times within `timeoutMs`; never after its
 * body may have arrived. Redirects are not followed: the key goes to `baseUrl` only. Throws when `baseUrl` or `apiKey` cannot be used.
 */
export function createSegmindClient(options: SegmindClientOptions): SegmindClient {
  const settings: Settings = { ...DEFAULTS, ...options }
  const { origin, prefix } = addressOf(options.baseUrl)
  const headers = headersOf(options.apiKey)
  const pool = new Pool(origin, poolOptions(settings))
  // A connection of its own, or the balance would wait behind calls that take minutes; fresh each time, for it is asked for rarely.
  const balancePool = new Pool(origin, { ...poolOptions(settings), connections: 1, pipelining: 0 })
  const closing = new AbortController()
  const calls = new Set<Promise<UpstreamOutcome>>()

  return {
    segment(image, params) {
      if (closing.signal.aborted) return Promise.resolve(refusedAfterClose())
      const outgoing = { ...segmentRequest(image, params, settings), path: prefix + SEGMENT_PATH, headers }
      const policy = { ...settings, endsAt: settings.now() + settings.timeoutMs, closing: closing.signal }
      const call = sendAgain(() => send(pool, outgoing, settings), policy)
      calls.add(call)
      return call.finally(() => calls.delete(call))
    },
    balance: () =>
      askBalance(balancePool, { ...balanceRequest(settings), path: prefix + BALANCE_PATH, headers }, settings),
    get inFlight() {
      return calls.size
    },
    async close() {
      closing.abort()
      await Promise.allSettled(calls)
      await Promise.all([pool.destroy(), balancePool.destroy()])
    },
  }
}

type Settings = typeof DEFAULTS & SegmindClientOptions

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

type Unaddressed = Omit<Outgoing, 'path' | 'headers'>

function segmentRequest(image: ImageBytes, params: Params, settings: Settings): Unaddressed {
  const { timeoutMs, maxAnswerBytes } = settings
  return { method: 'POST', body: segmentBody(image, params), deadline: settings.deadline(timeoutMs), maxAnswerBytes }
}

function balanceRequest(settings: Settings): Unaddressed {
  const timeoutMs = Math.min(settings.timeoutMs, BALANCE_TIMEOUT_MS)
  return { method: 'GET', deadline: settings.deadline(timeoutMs), maxAnswerBytes: BALANCE_BYTES }
}

async function send(pool: Pool, outgoing: Outgoing, { apiKey, now, onAttempt }: Settings): Promise<Verdict> {
  const startedAt = now()
  const exchanged = await exchange(pool, outgoing)
  const verdict = judge(exchanged, { apiKey, now: now() })
  onAttempt?.({
    code: verdict.outcome.kind === 'answered' ? 'ok' : verdict.outcome.error.code,
    ...(exchanged.head && { status: exchanged.head.status }),
    durationMs: now() - startedAt,
  })
  return verdict
}

async function askBalance(pool: Pool, outgoing: Outgoing, settings: Settings): Promise<{ remaining: Nanocredits }> {
  const { head, body, end } = await exchange(pool, outgoing)
  if (head && head.status !== 200) {
    throw refusalError({ ...head, body }, { apiKey: settings.apiKey, now: settings.now() })
  }
  if (end === 'timeout') throw new GatewayError('upstream_timeout', 'Segmind did not tell the balance in time.')
  if (!head) throw new GatewayError('upstream_unavailable', 'Segmind could not be asked for the balance.')
  const remaining = end === 'complete' ? readBalance(body.toString('utf8')) : undefined
  if (remaining === undefined) throw new GatewayError('upstream_failed', 'Segmind answered without a readable balance.')
  return { remaining }
}

function refusedAfterClose(): UpstreamOutcome {
  const detail = 'The gateway is closing its connections to Segmind.'
  return { kind: 'failed', error: new GatewayError('upstream_unavailable', detail, { retryAfterSeconds: 5 }), bill: {} }
}
