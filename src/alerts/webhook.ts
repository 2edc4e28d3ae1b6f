import { setTimeout as sleep } from 'node:timers/promises'
import { Agent, request } from 'undici'
import { type Attempt, isTaken, problemOf, retryAfterMs } from './attempt.js'
import { signatureHeaders } from './signature.js'

export type { Attempt } from './attempt.js'

/** One message: `text` is a sentence for people, which Slack shows; `at` is when it came about, milliseconds since 1970. */
export interface Message {
  id: string
  type: string
  at: number
  data: Record<string, unknown>
  text: string
}

/** `stopped`: by `close` or the signal, somebody else may deliver it. `last` is absent when nothing was sent. */
export interface Delivery {
  outcome: 'delivered' | 'given up' | 'stopped'
  attempts: number
  last?: Attempt
}

export interface DeliveryOptions {
  /** Ends the attempts; one that is under way is finished. */
  signal?: AbortSignal
  /** Pauses between attempts: one attempt more than there are pauses. */
  pausesMs?: readonly number[]
  onRetry?(attempt: Attempt, pauseMs: number): void
}

export interface Webhook {
  /** Sends a message until the receiver takes it or the attempts are used up. Never rejects. */
  deliver(message: Message, options?: DeliveryOptions): Promise<Delivery>
  /** Ends every pause at once, gives attempts under way two seconds, and then hangs up. */
  close(): Promise<void>
}

export interface WebhookOptions {
  /** A secret itself, as Slack's is: shown to nobody. */
  url: string
  secret(): Promise<string>
  /** Milliseconds since 1970. */
  now?: () => number
  /** Ends early, without failing, when the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  /** A signal that is aborted when the time is over. */
  deadline?: (ms: number) => AbortSignal
}

/** Five more attempts within thirteen minutes. */
const PAUSES_MS = [1_000, 5_000, 30_000, 120_000, 600_000]
const LONGEST_PAUSE_MS = 900_000
const ATTEMPT_MS = 10_000
const GRACE_MS = 2_000
const ANSWER_BYTES = 16 * 1024
/** The receiver wants no more of it, ever (Standard Webhooks). */
const GONE = 410

const DEFAULTS = {
  now: Date.now,
  wait: (ms: number, signal: AbortSignal): Promise<void> =>
    sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
  deadline: (ms: number): AbortSignal => AbortSignal.timeout(ms),
}

/**
 * Posts signed JSON to one address, each attempt on a connection of its own. Any 2xx is a delivery; redirects are refusals like all others,
 * and every refusal but 410 is tried again: whoever answers 404 now may be in the middle of a deployment.
 */
export function openWebhook(options: WebhookOptions): Webhook {
  const { now, wait, deadline } = { ...DEFAULTS, ...options }
  const agent = new Agent({ pipelining: 0, connect: { timeout: ATTEMPT_MS } })
  const closing = new AbortController()
  const underWay = new Set<Promise<Attempt>>()

  const attempt = (message: Message): Promise<Attempt> => {
    const sent = post(message, { ...options, agent, now, deadline })
    underWay.add(sent)
    return sent.finally(() => underWay.delete(sent))
  }

  return {
    async deliver(message, { signal, pausesMs = PAUSES_MS, onRetry } = {}) {
      const stop = signal ? AbortSignal.any([closing.signal, signal]) : AbortSignal.any([closing.signal])
      if (stop.aborted) return { outcome: 'stopped', attempts: 0 }
      for (let attempts = 1; ; attempts++) {
        const last = await attempt(message)
        if (isTaken(last)) return { outcome: 'delivered', attempts, last }
        const pauseMs = pauseAfter(last, pausesMs[attempts - 1])
        if (stop.aborted) return { outcome: 'stopped', attempts, last }
        if (pauseMs === undefined) return { outcome: 'given up', attempts, last }
        onRetry?.(last, pauseMs)
        await wait(pauseMs, stop)
        if (stop.aborted) return { outcome: 'stopped', attempts, last }
      }
    },
    async close() {
      closing.abort()
      const grace = deadline(GRACE_MS)
      await Promise.race([Promise.all(underWay), untilAborted(grace)]).catch(() => {})
      await agent.destroy()
      await Promise.all(underWay)
    },
  }
}

/** What the receiver asks for counts when it is longer than planned, up to a quarter of an hour. */
function pauseAfter({ status, retryAfterMs = 0 }: Attempt, plannedMs: number | undefined): number | undefined {
  if (plannedMs === undefined || status === GONE) return undefined
  return Math.max(plannedMs, Math.min(retryAfterMs, LONGEST_PAUSE_MS))
}

type Line = WebhookOptions & { agent: Agent; now(): number; deadline(ms: number): AbortSignal }

/** One attempt. Never rejects. */
async function post(message: Message, { url, secret, agent, now, deadline }: Line): Promise<Attempt> {
  const startedAt = now()
  const signal = deadline(ATTEMPT_MS)
  try {
    const body = bodyOf(message)
    const signed = signatureHeaders({ id: message.id, at: now(), body, secret: await secret() })
    const headers = { ...headersFor(url), ...signed }
    // The signal is heard once there is a connection; until then the time is that of the agent.
    const answer = await request(addressOf(url), { dispatcher: agent, method: 'POST', headers, body, signal })
    void answer.body.dump({ limit: ANSWER_BYTES }).catch(() => {})
    const asked = retryAfterMs(answer.headers['retry-after'], now())
    return {
      status: answer.statusCode,
      durationMs: now() - startedAt,
      ...(asked === undefined ? {} : { retryAfterMs: asked }),
    }
  } catch (error) {
    return { problem: signal.aborted ? 'timeout' : problemOf(error), durationMs: now() - startedAt }
  }
}

function bodyOf({ type, at, data, text }: Message): string {
  return JSON.stringify({ type, timestamp: new Date(at).toISOString(), data, text })
}

function headersFor(url: string): Record<string, string> {
  const { username, password } = new URL(url)
  const userInfo = Buffer.from(`${decodeURIComponent(username)}:${decodeURIComponent(password)}`).toString('base64')
  return {
    'content-type': 'application/json',
    'user-agent': 'segmind-gateway',
    ...(username === '' && password === '' ? {} : { authorization: `Basic ${userInfo}` }),
  }
}

function addressOf(url: string): string {
  return Object.assign(new URL(url), { username: '', password: '' }).href
}

function untilAborted(signal: AbortSignal): Promise<never> {
  return new Promise((_, reject) => {
    if (signal.aborted) reject(signal.reason)
    signal.addEventListener('abort', () => reject(signal.reason), { once: true })
  })
}
