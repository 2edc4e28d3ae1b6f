import { GatewayError } from '../contracts/errors.js'
import type { Bill, CallTerms, UpstreamFailure, UpstreamOutcome } from '../segment/ports.js'
import { type CallOutcome, causeOf, classifyError, classifyNoResponse, refusalMark } from './classify.js'
import type { Exchange, Outgoing } from './exchange.js'
import type { Retry } from './retry.js'
import { type ErrorContext, errorFromResponse } from './wire-error.js'
import { isJobId, jobPaths, readJob, readJobId } from './wire-job.js'
import { readPicture } from './wire-response.js'

export interface JobClientOptions {
  /** Sends a request with the key. Never throws. */
  get(path: string, limits: Pick<Outgoing, 'deadline' | 'maxAnswerBytes'>): Promise<Exchange>
  /** Fetches a picture without the key. */
  fetchOutput(url: string, deadline: AbortSignal): Promise<Buffer>
  /** Creates the deadline of a whole job, which starts when the job is accepted or resumed. */
  deadline(): AbortSignal
  /** Creates the deadline of one poll. */
  pollDeadline(): AbortSignal
  /** Aborted: polling stops. */
  closing: AbortSignal
  /** Resolves early when the signal is aborted. Never rejects. */
  wait(ms: number, signal: AbortSignal): Promise<void>
  context(): ErrorContext
}

/** Result of a submission: a job, or the end of the call. */
export type Submission = ({ jobId: string } | { outcome: CallOutcome }) & { retry?: Retry }

const FIRST_POLL_MS = 1_000
const MAX_POLL_MS = 5_000
const POLL_GROWTH = 1.5
const REPORT_BYTES = 256 * 1024

/**
 * Classifies the response to a submission. A success (including 202) without a usable id may be a
 * running job that cannot be polled, so its billing is unknown.
 */
export function classifySubmission(exchanged: Exchange, context: ErrorContext): Submission {
  const { head, body, end } = exchanged
  if (!head) return classifyNoResponse(exchanged, context)
  if (head.status < 200 || head.status > 299) return classifyError({ ...head, body }, context)
  const jobId = end === 'complete' ? readJobId(body.toString('utf8')) : undefined
  if (jobId !== undefined) return { jobId }
  const options = { billed: 'unknown', ...causeOf(exchanged, context) } as const
  const error = new GatewayError('upstream_failed', 'Segmind accepted the job without returning a usable id.', options)
  return { outcome: { kind: 'failed', error, bill: {} } }
}

/** Reports an accepted job to the caller, then waits for it. */
export async function awaitSubmitted(
  jobId: string,
  { onSubmitted }: CallTerms,
  options: JobClientOptions,
): Promise<CallOutcome> {
  const deadline = options.deadline()
  // If the report fails, the job still runs and is still polled.
  await onSubmitted(jobId).catch(() => undefined)
  return awaitJob(jobId, options, deadline)
}

/**
 * Polls a job until it has ended, then fetches its picture. Never throws. A job that misses its
 * deadline, or whose picture cannot be fetched, is `upstream_timeout` with unknown billing; it can
 * be resumed later. A failed job is not billed.
 */
export async function awaitJob(
  jobId: string,
  options: JobClientOptions,
  deadline = options.deadline(),
): Promise<CallOutcome> {
  if (!isJobId(jobId)) return failed('upstream_failed', 'The job id is not a valid Segmind id.', jobId)
  return withFirstSignal([deadline, options.closing], until => poll(jobId, options, until))
}

async function poll(jobId: string, options: JobClientOptions, until: AbortSignal): Promise<CallOutcome> {
  let pauseMs = FIRST_POLL_MS
  let isCompleted = false
  while (!until.aborted) {
    const { status, result } = jobPaths(jobId)
    const exchanged = await getReport(isCompleted ? result : status, options, until)
    const step = classifyReport(jobId, exchanged, options.context())
    if ('outcome' in step) return step.outcome
    if (isCompleted && step.output !== undefined) {
      const outcome = await fetchPicture(step.output, step.bill, options, until)
      if (outcome) return outcome
    } else if (isCompleted && step.status === 'completed') {
      return failed('upstream_failed', 'Segmind completed the job without a picture.', jobId, step.bill)
    } else if (step.status === 'completed') {
      isCompleted = true
      continue
    }
    await options.wait(pauseMs, until)
    pauseMs = Math.min(pauseMs * POLL_GROWTH, MAX_POLL_MS)
  }
  return failed('upstream_timeout', 'Segmind did not finish the job in time.', jobId)
}

function getReport(path: string, options: JobClientOptions, until: AbortSignal): Promise<Exchange> {
  return withFirstSignal([until, options.pollDeadline()], deadline =>
    options.get(path, { deadline, maxAnswerBytes: REPORT_BYTES }),
  )
}

/**
 * Runs `work` with a signal that aborts with the first of these signals. Not `AbortSignal.any`: it
 * holds its sources weakly (Node 20), so a timeout signal without another reference is
 * garbage-collected and never fires.
 */
async function withFirstSignal<T>(signals: AbortSignal[], work: (first: AbortSignal) => Promise<T>): Promise<T> {
  const first = new AbortController()
  const abort = () => first.abort(signals.find(signal => signal.aborted)?.reason)
  for (const signal of signals) signal.addEventListener('abort', abort, { once: true })
  if (signals.some(signal => signal.aborted)) abort()
  try {
    return await work(first.signal)
  } finally {
    for (const signal of signals) signal.removeEventListener('abort', abort)
  }
}

type Step = { outcome: CallOutcome } | ReturnType<typeof readJob>

/**
 * Classifies the response to a poll. A failed poll says nothing about the job, so the job is polled
 * again.
 */
function classifyReport(jobId: string, { head, body, end }: Exchange, context: ErrorContext): Step {
  if (!head || end !== 'complete') return { status: 'unclear', bill: {} }
  const { status, headers } = head
  const report = readJob(jobId, body.toString('utf8'), headers)
  if (status === 422 || report.status === 'failed') {
    const error = errorFromResponse({ status: 422, headers, body }, context)
    const { cost: _notBilled, ...bill } = report.bill
    return { outcome: { kind: 'failed', error, bill } }
  }
  if (status === 200) return report
  if (status === 404) {
    const outcome = failed('upstream_failed', 'Segmind does not know the job, or no longer does.', jobId)
    return { outcome: { ...outcome, ...refusalMark(status) } }
  }
  if (status === 401 || status === 403) {
    const { code, message } = errorFromResponse({ status, headers, body }, context)
    return { outcome: failed(code, message, jobId) }
  }
  return { status: 'unclear', bill: {} }
}

/** Errors of `fetchOutput` that are final: another attempt would fetch no picture either. */
const FINAL_FETCH_ERRORS: ReadonlySet<string> = new Set(['unsupported_image', 'image_too_large', 'image_url_refused'])

/**
 * Fetches the picture of a completed job. Returns `undefined` when it could not be fetched this
 * time.
 */
async function fetchPicture(
  url: string,
  bill: Bill,
  { fetchOutput }: JobClientOptions,
  until: AbortSignal,
): Promise<UpstreamOutcome | undefined> {
  const bytes = await fetchOutput(url, until).catch((error: unknown) => {
    return error instanceof GatewayError && FINAL_FETCH_ERRORS.has(error.code) ? Buffer.alloc(0) : undefined
  })
  if (!bytes) return undefined
  const picture = readPicture(bytes)
  if (picture) return { kind: 'answered', ...picture, bill }
  const error = new GatewayError('upstream_failed', 'Segmind completed the job without a JPEG, PNG or WebP picture.', {
    billed: 'yes',
    retryable: false,
  })
  return { kind: 'failed', error, bill }
}

/** A failure with a bill was billed; without one the billing is unknown. */
function failed(code: GatewayError['code'], detail: string, jobId: string, bill?: Bill): UpstreamFailure {
  const error = new GatewayError(code, detail, { billed: bill ? 'yes' : 'unknown' })
  return { kind: 'failed', error, bill: { upstreamRequestId: jobId, ...bill } }
}
