import { setTimeout as sleep } from 'node:timers/promises'
import { Webhook as Signer } from 'standardwebhooks'
import { Agent, request } from 'undici'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import { type Attempt, isAccepted, problemOf, retryAfterMs } from './attempt.js'

/**
 * One message. `text`: a sentence for people, which Slack shows. `at`: when its condition arose,
 * milliseconds since 1970.
 */
export interface Message {
  id: string
  type: string
  at: number
  data: Record<string, unknown>
  text: string
}

/**
 * `stopped`: ended by `close` or the signal, so another process may deliver it. `last` is absent if
 * nothing was sent.
 */
interface Delivery {
  outcome: 'delivered' | 'given up' | 'stopped'
  attempts: number
  last?: Attempt
}

interface DeliveryOptions {
  /** Ends the attempts. The current attempt is completed. */
  signal?: AbortSignal
  /** Pauses between attempts. There is one attempt more than pauses. */
  pausesMs?: readonly number[]
  onRetry?(attempt: Attempt, pauseMs: number): void
}

export interface Webhook {
  /** Sends a message until the receiver accepts it or no attempts are left. Never rejects. */
  deliver(message: Message, options?: DeliveryOptions): Promise<Delivery>
  /** Ends all pauses, waits up to two seconds for current attempts, then closes the connections. */
  close(): Promise<void>
}

export interface WebhookOptions {
  /** A secret itself (Slack's are), so it never appears in logs or errors. */
  url: string
  secret(): Promise<string>
  now?: Clock
  /** Resolves early, without failing, when the signal is aborted. */
  wait?: (ms: number, signal: AbortSignal) => Promise<void>
  /** Creates a signal that is aborted after `ms`. */
  deadline?: (ms: number) => AbortSignal
}

/** Five more attempts within thirteen minutes. */
const PAUSES_MS = [1_000, 5_000, 30_000, 120_000, 600_000]
const LONGEST_PAUSE_MS = 900_000
const ATTEMPT_MS = 10_000
const GRACE_MS = 2_000
const ANSWER_BYTES = 16 * 1024
/** The receiver wants no further messages (Standard Webhooks). */
const GONE = 410

const DEFAULTS = {
  now: Date.now,
  wait: (ms: number, signal: AbortSignal): Promise<void> =>
    sleep(ms, undefined, { signal, ref: false }).catch(() => {}),
  deadline: (ms: number): AbortSignal => AbortSignal.timeout(ms),
}

/**
 * Posts signed JSON to one address (Standard Webhooks 1.0), each attempt on its own connection. Any
 * 2xx is a delivery. Everything else, redirects included, is a refusal. Every refusal but 410 is
 * retried: a receiver that answers 404 may be in the middle of a deployment.
 */
export function openWebhook(options: WebhookOptions): Webhook {
  const { now, wait, deadline } = { ...DEFAULTS, ...options }
  const agent = new Agent({ pipelining: 0, connect: { timeout: ATTEMPT_MS } })
  const closing = new AbortController()
  const inProgress = new Set<Promise<Attempt>>()

  const attempt = (message: Message): Promise<Attempt> => {
    const sent = post(message, { ...options, agent, now, deadline })
    inProgress.add(sent)
    return sent.finally(() => inProgress.delete(sent))
  }

  return {
    async deliver(message, { signal, pausesMs = PAUSES_MS, onRetry } = {}) {
      const stop = signal ? AbortSignal.any([closing.signal, signal]) : AbortSignal.any([closing.signal])
      if (stop.aborted) return { outcome: 'stopped', attempts: 0 }
      for (let attempts = 1; ; attempts++) {
        const last = await attempt(message)
        if (isAccepted(last)) return { outcome: 'delivered', attempts, last }
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
      await Promise.race([Promise.all(inProgress), untilAborted(grace)]).catch(() => {})
      await agent.destroy()
      await Promise.all(inProgress)
    },
  }
}

/**
 * Prefers the pause that the receiver requests if it is longer than planned, up to a quarter of an
 * hour.
 */
function pauseAfter({ status, retryAfterMs = 0 }: Attempt, plannedMs: number | undefined): number | undefined {
  if (plannedMs === undefined || status === GONE) return undefined
  return Math.max(plannedMs, Math.min(retryAfterMs, LONGEST_PAUSE_MS))
}

type AttemptOptions = WebhookOptions & { agent: Agent; now: Clock; deadline(ms: number): AbortSignal }

/** One attempt. Never rejects. */
async function post(message: Message, { url, secret, agent, now, deadline }: AttemptOptions): Promise<Attempt> {
  const startedAt = now()
  const signal = deadline(ATTEMPT_MS)
  try {
    const body = bodyOf(message)
    const headers = { ...headersFor(url), ...signatureHeaders(message.id, new Date(now()), body, await secret()) }
    // The signal applies once there is a connection. Until then the agent's connect timeout does.
    const answer = await request(addressOf(url), { dispatcher: agent, method: 'POST', headers, body, signal })
    void answer.body.dump({ limit: ANSWER_BYTES }).catch(() => {})
    return {
      status: answer.statusCode,
      durationMs: now() - startedAt,
      ...defined({ retryAfterMs: retryAfterMs(answer.headers['retry-after'], now()) }),
    }
  } catch (error) {
    return { problem: signal.aborted ? 'timeout' : problemOf(error), durationMs: now() - startedAt }
  }
}

function bodyOf({ type, at, data, text }: Message): string {
  return JSON.stringify({ type, timestamp: new Date(at).toISOString(), data, text })
}

function signatureHeaders(id: string, at: Date, body: string, secret: string): Record<string, string> {
  return {
    'webhook-id': id,
    'webhook-timestamp': `${Math.floor(at.getTime() / 1000)}`,
    'webhook-signature': new Signer(secret).sign(id, at, body),
  }
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
