import type { AccountBalance, SharedKeyState } from '../contracts/account.js'
import { defined } from '../contracts/defined.js'
import { GatewayError } from '../contracts/errors.js'
import type { BreakerState } from '../contracts/overview.js'
import type { ImageBytes, Params } from '../contracts/types.js'
import type { CallTerms, Upstream, UpstreamOutcome } from '../segment/ports.js'
import { balanceFrom, probeOutcome } from './balance.js'
import { createBreaker } from './breaker.js'
import { type CallOutcome, classify } from './classify.js'
import { openConnection, type SegmindConnection } from './connection.js'
import type { Exchange } from './exchange.js'
import { awaitJob, awaitSubmitted, classifySubmission, type JobClientOptions } from './job-client.js'
import { DEFAULTS, type SegmindClientOptions, type SegmindClientSettings } from './options.js'
import { type Retry, sendWithRetries } from './retry.js'
import { SharedKey } from './shared-key.js'
import type { ErrorContext } from './wire-error.js'
import { SEGMENT_PATH, SUBMIT_PATH, segmentBody } from './wire-request.js'

export type { SegmindClientOptions, SegmindObserver } from './options.js'

export interface SegmindClient extends Upstream {
  /** Requests the account balance once; free of charge. Throws `upstream_*`. */
  balance(): Promise<AccountBalance>
  /** Fetches a picture at an address of Segmind's choice, without the key. Rejects if that fails. */
  fetchOutput(url: string): Promise<Buffer>
  /** Calls of `segment` and `resume` that have not ended. */
  readonly inFlight: number
  readonly breaker: BreakerState
  /** Undefined until the first response that shows whether the key is valid. */
  readonly sharedKey: SharedKeyState | undefined
  /**
   * Accepts no new call, stops retries, and resolves when every call has ended, after `timeoutMs`
   * at the latest.
   */
  close(): Promise<void>
}

/** Timeout of one status or result request of a job. */
const POLL_TIMEOUT_MS = 15_000
const OUTPUT_TIMEOUT_MS = 60_000

/**
 * Creates the client of Segmind's `sam-v2-image` (docs/segmind.md). It resends a call only where
 * the call cannot be billed twice:
 * - when no byte of it was sent;
 * - once after a server error, which Segmind never bills.
 *
 * After 429 and 503, which are not billed either, the outcome says `busy`: the caller may repeat the
 * call when it has a slot again.
 *
 * It never resends a call whose body may have arrived, nor resubmits a job that Segmind accepted.
 * Redirects are not followed: the key goes to `baseUrl` only. Throws when `baseUrl` or `apiKey` is
 * unusable.
 */
export function createSegmindClient(options: SegmindClientOptions): SegmindClient {
  const sharedKey = new SharedKey(state => options.observer?.sharedKeyChanged?.(state))
  const settings: SegmindClientSettings = { ...DEFAULTS, ...options, sharedKey }
  const connection = openConnection(settings)
  const calls = new Set<Promise<UpstreamOutcome>>()
  const context = () => ({ apiKey: settings.apiKey, now: settings.now() })
  const breaker = createBreaker({
    probe: async () => probeOutcome(await connection.balance(), context()),
    wait: settings.waitToProbe,
    now: settings.now,
    random: settings.random,
    onChange: state => options.observer?.breakerChanged?.(state),
  })
  const track = (call: Promise<UpstreamOutcome>): Promise<UpstreamOutcome> => {
    calls.add(call)
    return call.finally(() => calls.delete(call))
  }
  const send = settings.api === 'v2' ? submitAndPoll : sendAndWait

  return {
    admit: breaker.admit,
    segment(image, params, terms) {
      if (connection.closing.aborted) return Promise.resolve(closedFailure())
      return track(breaker.run(terms.question, () => send(connection, { image, params, terms }, settings)))
    },
    resume: jobId => track(resumeJob(connection, jobId, settings)),
    fetchOutput: url => jobsOptions(connection, settings).fetchOutput(url, settings.deadline(OUTPUT_TIMEOUT_MS)),
    async balance() {
      try {
        const balance = balanceFrom(await connection.balance(), context())
        sharedKey.balanceRequestEnded('ok')
        return balance
      } catch (error) {
        sharedKey.balanceRequestEnded(error instanceof GatewayError ? error.code : 'internal_error')
        throw error
      }
    },
    get sharedKey() {
      return sharedKey.state
    },
    get inFlight() {
      return calls.size
    },
    get breaker() {
      return breaker.state
    },
    async close() {
      breaker.close()
      connection.stop()
      await Promise.allSettled(calls)
      await connection.close()
    },
  }
}

interface Call {
  image: ImageBytes
  params: Params
  terms: CallTerms
}

async function sendAndWait(
  connection: SegmindConnection,
  call: Call,
  settings: SegmindClientSettings,
): Promise<CallOutcome> {
  return (await post(SEGMENT_PATH, connection, call, settings, classify)).outcome
}

async function submitAndPoll(
  connection: SegmindConnection,
  call: Call,
  settings: SegmindClientSettings,
): Promise<CallOutcome> {
  const submitted = await post(SUBMIT_PATH, connection, call, settings, classifySubmission)
  if ('outcome' in submitted) return submitted.outcome
  return awaitSubmitted(submitted.jobId, call.terms, jobsOptions(connection, settings))
}

/**
 * With `SEGMIND_API=v1` a job cannot be polled, so the fate of a job submitted through v2 stays
 * unknown.
 */
async function resumeJob(
  connection: SegmindConnection,
  jobId: string,
  settings: SegmindClientSettings,
): Promise<UpstreamOutcome> {
  if (settings.api === 'v2') return awaitJob(jobId, jobsOptions(connection, settings))
  const detail = 'The job was submitted with SEGMIND_API=v2, but the gateway now runs with SEGMIND_API=v1.'
  return { kind: 'failed', error: new GatewayError('upstream_failed', detail, { billed: 'unknown' }), bill: {} }
}

function jobsOptions(connection: SegmindConnection, settings: SegmindClientSettings): JobClientOptions {
  return {
    get: (path, limits) => connection.send({ method: 'GET', path, ...limits }),
    fetchOutput: async (output, deadline) => {
      const url = new URL(output, connection.origin)
      if (url.origin !== connection.origin) return settings.fetchOutput(url.href)
      const { head, body, end } = await connection.fetch(url, deadline)
      if (head?.status !== 200 || end !== 'complete') throw new Error('the picture could not be fetched')
      return body
    },
    deadline: () => settings.deadline(settings.timeoutMs),
    pollDeadline: () => settings.deadline(POLL_TIMEOUT_MS),
    closing: connection.closing,
    wait: settings.wait,
    context: () => ({ apiKey: settings.apiKey, now: settings.now() }),
  }
}

type Classified = ({ outcome: CallOutcome } | { jobId: string }) & { retry?: Retry }

/** Posts the call, with retries, and reports every attempt. */
function post<C extends Classified>(
  path: string,
  connection: SegmindConnection,
  { image, params, terms }: Call,
  settings: SegmindClientSettings,
  classifyResponse: (exchanged: Exchange, context: ErrorContext) => C,
): Promise<C> {
  const { maxAnswerBytes, now, apiKey, sharedKey, observer } = settings
  const body = segmentBody(image, params)
  const deadline = settings.deadline(settings.timeoutMs)
  const send = async (): Promise<C> => {
    const startedAt = now()
    const exchanged = await connection.send({ method: 'POST', path, body, deadline, maxAnswerBytes })
    const classified = classifyResponse(exchanged, { apiKey, now: now() })
    const durationMs = now() - startedAt
    const { error } = 'outcome' in classified && classified.outcome.kind === 'failed' ? classified.outcome : {}
    const attempt = { code: error?.code ?? 'ok', ...defined({ status: exchanged.head?.status }), durationMs } as const
    sharedKey.callEnded(attempt.code)
    observer?.upstreamAttempted?.(attempt)
    terms.onAttempt?.(attempt)
    return classified
  }
  return sendWithRetries(send, {
    ...settings,
    endsAt: now() + settings.timeoutMs,
    closing: connection.closing,
  })
}

function closedFailure(): UpstreamOutcome {
  const detail = 'The gateway is shutting down. Retry after it has restarted.'
  return { kind: 'failed', error: new GatewayError('upstream_unavailable', detail, { retryAfterSeconds: 5 }), bill: {} }
}
