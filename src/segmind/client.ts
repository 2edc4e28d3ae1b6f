import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import type { CallTerms, Upstream, UpstreamOutcome } from '../segment/ports.js'
import type { ImageBytes, Params } from '../segment/types.js'
import { balanceIn, judgeProbe } from './balance-request.js'
import { type BreakerState, createBreaker } from './breaker.js'
import type { Exchange } from './exchange.js'
import { awaitJob, awaitSubmitted, type JobsOptions, judgeSubmission, type Submission } from './jobs.js'
import { type Line, openLine } from './line.js'
import { DEFAULTS, type SegmindClientOptions, type Settings, type UpstreamAttempt } from './options.js'
import { type Again, type RetryPolicy, sendAgain } from './retry.js'
import { type Judged, judge, type Verdict } from './verdict.js'
import { SEGMENT_PATH, SUBMIT_PATH, segmentBody } from './wire-request.js'

export type { SegmindClientOptions, UpstreamAttempt } from './options.js'

export interface SegmindClient extends Upstream {
  /** Asks for the account's balance, once; free of charge. Throws `upstream_*`. */
  balance(): Promise<{ remaining: Nanocredits }>
  /** Calls of `segment` and `resume` that have not ended. */
  readonly inFlight: number
  readonly breaker: BreakerState
  /** Takes no new call, tries none again, and ends when every call has ended: after `timeoutMs` at the latest. */
  close(): Promise<void>
}

/** One question about a job, or for its picture. */
const POLL_TIMEOUT_MS = 15_000

/**
 * The client of Segmind's `sam-v2-image` (SEGMIND.md). A call is sent again only where that cannot be paid for twice: when surely
 * nothing of it went out, or after 429, 503 and (once) other server errors, which are never billed; never after its body may have arrived. A job that
 * was taken is polled and never submitted again. Redirects are not followed: the key goes to `baseUrl` only. Throws when `baseUrl`
 * or `apiKey` cannot be used.
 */
export function createSegmindClient(options: SegmindClientOptions): SegmindClient {
  const settings: Settings = { ...DEFAULTS, ...options }
  const line = openLine(settings)
  const calls = new Set<Promise<UpstreamOutcome>>()
  const reading = () => ({ apiKey: settings.apiKey, now: settings.now() })
  const breaker = createBreaker({
    probe: async () => judgeProbe(await line.balance(), reading()),
    wait: settings.waitToProbe,
    now: settings.now,
    random: settings.random,
    onChange: options.onBreaker,
  })
  const counted = (call: Promise<UpstreamOutcome>): Promise<UpstreamOutcome> => {
    calls.add(call)
    return call.finally(() => calls.delete(call))
  }
  const send = settings.api === 'v2' ? submitAndPoll : sendAndWait

  return {
    admit: breaker.admit,
    segment(image, params, terms) {
      if (line.closing.aborted) return Promise.resolve(refusedAfterClose())
      return counted(breaker.run(() => send(line, { image, params, terms }, settings)))
    },
    resume: jobId => counted(resumeJob(line, jobId, settings)),
    balance: async () => balanceIn(await line.balance(), reading()),
    get inFlight() {
      return calls.size
    },
    get breaker() {
      return breaker.state
    },
    async close() {
      breaker.close()
      line.stop()
      await Promise.allSettled(calls)
      await line.close()
    },
  }
}

interface Call {
  image: ImageBytes
  params: Params
  terms: CallTerms
}

async function sendAndWait(line: Line, call: Call, settings: Settings): Promise<Judged> {
  const { image, params, terms } = call
  const { maxAnswerBytes, now, apiKey } = settings
  const body = segmentBody(image, params)
  const deadline = settings.deadline(settings.timeoutMs)
  const send = () =>
    attempt(settings, terms, async (): Promise<[Verdict, Exchange]> => {
      const exchanged = await line.send({ method: 'POST', path: SEGMENT_PATH, body, deadline, maxAnswerBytes })
      return [judge(exchanged, { apiKey, now: now() }), exchanged]
    })
  return (await sendAgain(send, policyOf(line, terms, settings))).outcome
}

async function submitAndPoll(line: Line, call: Call, settings: Settings): Promise<Judged> {
  const { image, params, terms } = call
  const { maxAnswerBytes, now, apiKey } = settings
  const body = segmentBody(image, params)
  const deadline = settings.deadline(settings.timeoutMs)
  const send = () =>
    attempt(settings, terms, async (): Promise<[Submission, Exchange]> => {
      const exchanged = await line.send({ method: 'POST', path: SUBMIT_PATH, body, deadline, maxAnswerBytes })
      return [judgeSubmission(exchanged, { apiKey, now: now() }), exchanged]
    })
  const submitted = await sendAgain(send, policyOf(line, terms, settings))
  if ('outcome' in submitted) return submitted.outcome
  return awaitSubmitted(submitted.jobId, terms, jobsOver(line, settings))
}

/** In v1 there are no jobs to be asked for: what became of one that v2 submitted is not known. */
async function resumeJob(line: Line, jobId: string, settings: Settings): Promise<UpstreamOutcome> {
  if (settings.api === 'v2') return awaitJob(jobId, jobsOver(line, settings))
  const detail = 'The job was submitted with SEGMIND_API=v2, which is not in use.'
  return { kind: 'failed', error: new GatewayError('upstream_failed', detail, { billed: 'unknown' }), bill: {} }
}

function jobsOver(line: Line, settings: Settings): JobsOptions {
  return {
    get: (path, limits) => line.send({ method: 'GET', path, ...limits }),
    fetchOutput: async (place, deadline) => {
      const url = new URL(place, line.origin)
      if (url.origin !== line.origin) return settings.fetchOutput(url.href)
      const { head, body, end } = await line.fetch(url, deadline)
      if (head?.status !== 200 || end !== 'complete') throw new Error('the picture could not be fetched')
      return body
    },
    deadline: () => settings.deadline(settings.timeoutMs),
    pollDeadline: () => settings.deadline(POLL_TIMEOUT_MS),
    closing: line.closing,
    wait: settings.wait,
    reading: () => ({ apiKey: settings.apiKey, now: settings.now() }),
  }
}

function policyOf(line: Line, { retryUntil }: CallTerms, settings: Settings): RetryPolicy {
  return { ...settings, endsAt: settings.now() + settings.timeoutMs, retryUntil, closing: line.closing }
}

/** Sends one request for a picture, and tells of it. */
async function attempt<V extends { outcome: UpstreamOutcome; again?: Again } | { jobId: string }>(
  { now, onAttempt }: Settings,
  terms: CallTerms,
  send: () => Promise<[V, Exchange]>,
): Promise<V> {
  const startedAt = now()
  const [verdict, { head }] = await send()
  const told: UpstreamAttempt = {
    code: 'outcome' in verdict && verdict.outcome.kind === 'failed' ? verdict.outcome.error.code : 'ok',
    ...(head && { status: head.status }),
    durationMs: now() - startedAt,
  }
  onAttempt?.(told)
  terms.onAttempt?.(told)
  return verdict
}

function refusedAfterClose(): UpstreamOutcome {
  const detail = 'The gateway is closing its connections to Segmind.'
  return { kind: 'failed', error: new GatewayError('upstream_unavailable', detail, { retryAfterSeconds: 5 }), bill: {} }
}
