import { GatewayError } from '../errors.js'
import type { Bill, CallTerms, UpstreamFailure, UpstreamOutcome } from '../segment/ports.js'
import type { Exchange, Outgoing } from './exchange.js'
import type { Again } from './retry.js'
import { causeOf, type Judged, markOf, type Reading, refused, unanswered } from './verdict.js'
import { isJobId, jobPaths, readJob, readJobId } from './wire-job.js'
import { readPicture } from './wire-picture.js'
import { refusalError } from './wire-refusal.js'

export interface JobsOptions {
  /** Sends a request of ours with the key; never throws. */
  get(path: string, limits: Pick<Outgoing, 'deadline' | 'maxAnswerBytes'>): Promise<Exchange>
  /** Fetches a picture, without the key. */
  fetchOutput(url: string, deadline: AbortSignal): Promise<Buffer>
  /** For a whole job, from the moment it was taken or is resumed. */
  deadline(): AbortSignal
  /** A limit for one question about it. */
  pollDeadline(): AbortSignal
  /** Aborted: nothing is polled any more. */
  closing: AbortSignal
  /** Ends early, without failing, when the signal is aborted. */
  wait(ms: number, signal: AbortSignal): Promise<void>
  reading(): Reading
}

/** What came of submitting: a job, or the end of the call. */
export type Submission = { jobId: string; again?: Again } | { outcome: Judged; again?: Again }

const FIRST_POLL_MS = 1_000
const MAX_POLL_MS = 5_000
const POLL_GROWTH = 1.5
const REPORT_BYTES = 256 * 1024

/** Says what the answer to a submission means. A success (202 included) without a usable id may be a job that is under way and that nobody can ask about. */
export function judgeSubmission(exchanged: Exchange, reading: Reading): Submission {
  const { head, body, end } = exchanged
  if (!head) return unanswered(exchanged, reading)
  if (head.status < 200 || head.status > 299) return refused({ ...head, body }, reading)
  const jobId = end === 'complete' ? readJobId(body.toString('utf8')) : undefined
  if (jobId !== undefined) return { jobId }
  const options = { billed: 'unknown', ...causeOf(exchanged, reading) } as const
  const error = new GatewayError('upstream_failed', 'Segmind took the job without saying under which id.', options)
  return { outcome: { kind: 'failed', error, bill: {} } }
}

/** Tells of a job that was taken, then waits for it. */
export async function awaitSubmitted(jobId: string, { onSubmitted }: CallTerms, options: JobsOptions): Promise<Judged> {
  const deadline = options.deadline()
  // A job that could not be noted runs all the same.
  await onSubmitted(jobId).catch(() => undefined)
  return awaitJob(jobId, options, deadline)
}

/**
 * Polls a job until it has ended, then fetches its picture. Never throws. A job of which the time runs out, or whose picture cannot be
 * fetched, is `upstream_timeout` and unknown: whoever asks later may poll it again. One that failed was not billed.
 */
export async function awaitJob(jobId: string, options: JobsOptions, deadline = options.deadline()): Promise<Judged> {
  if (!isJobId(jobId)) return failed('upstream_failed', 'The id of the job is none of Segmind.', jobId)
  return untilFirst([deadline, options.closing], until => poll(jobId, options, until))
}

async function poll(jobId: string, options: JobsOptions, until: AbortSignal): Promise<Judged> {
  let pauseMs = FIRST_POLL_MS
  let isCompleted = false
  while (!until.aborted) {
    const { status, result } = jobPaths(jobId)
    const exchanged = await ask(isCompleted ? result : status, options, until)
    const step = judgeReport(jobId, exchanged, options.reading())
    if ('outcome' in step) return step.outcome
    if (isCompleted && step.output !== undefined) {
      const outcome = await fetchPicture(step.output, step.bill, options, until)
      if (outcome) return outcome
    } else if (isCompleted && step.status === 'completed') {
      return failed('upstream_failed', 'Segmind completed the job without a picture.', jobId, { ...step.bill })
    } else if (step.status === 'completed') {
      isCompleted = true
      continue
    }
    await options.wait(pauseMs, until)
    pauseMs = Math.min(pauseMs * POLL_GROWTH, MAX_POLL_MS)
  }
  return failed('upstream_timeout', 'Segmind did not finish the job in time.', jobId)
}

function ask(path: string, options: JobsOptions, until: AbortSignal): Promise<Exchange> {
  return untilFirst([until, options.pollDeadline()], deadline =>
    options.get(path, { deadline, maxAnswerBytes: REPORT_BYTES }),
  )
}

/**
 * Works until the first of these signals. Not `AbortSignal.any`: that holds its sources weakly (Node 20), so a time that nobody else holds
 * is collected as garbage, and never over.
 */
async function untilFirst<T>(signals: AbortSignal[], work: (first: AbortSignal) => Promise<T>): Promise<T> {
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

type Step = { outcome: Judged } | ReturnType<typeof readJob>

/** What one answer about a job means. Trouble on the way says nothing about the job: it is asked again. */
function judgeReport(jobId: string, { head, body, end }: Exchange, reading: Reading): Step {
  if (!head || end !== 'complete') return { status: 'unclear', bill: {} }
  const { status, headers } = head
  const report = readJob(jobId, body.toString('utf8'), headers)
  if (status === 422 || report.status === 'failed') {
    const error = refusalError({ status: 422, headers, body }, reading)
    return { outcome: { kind: 'failed', error, bill: withoutCost(report.bill) } }
  }
  if (status === 200) return report
  if (status === 404) {
    const outcome = failed('upstream_failed', 'Segmind does not know the job, or does not any more.', jobId)
    return { outcome: { ...outcome, ...markOf({ status }) } }
  }
  if (status === 401 || status === 403) {
    const { code, message } = refusalError({ status, headers, body }, reading)
    return { outcome: failed(code, message, jobId) }
  }
  return { status: 'unclear', bill: {} }
}

/** What lies there will be no picture the next time either. */
const NO_PICTURE: ReadonlySet<string> = new Set(['unsupported_image', 'image_too_large', 'image_url_refused'])

/** Nothing when it could not be fetched this time. */
async function fetchPicture(
  url: string,
  bill: Bill,
  { fetchOutput }: JobsOptions,
  until: AbortSignal,
): Promise<UpstreamOutcome | undefined> {
  const bytes = await fetchOutput(url, until).catch((error: unknown) => {
    return error instanceof GatewayError && NO_PICTURE.has(error.code) ? Buffer.alloc(0) : undefined
  })
  if (!bytes) return undefined
  const picture = readPicture(bytes)
  if (picture) return { kind: 'answered', ...picture, bill }
  const error = new GatewayError('upstream_failed', 'Segmind completed the job without a JPEG, PNG or WebP picture.', {
    billed: 'yes',
  })
  return { kind: 'failed', error, bill }
}

function withoutCost({ cost: _notBilled, ...bill }: Bill): Bill {
  return bill
}

/** With a bill it was billed; else nobody knows. */
function failed(code: GatewayError['code'], detail: string, jobId: string, bill?: Bill): UpstreamFailure {
  const error = new GatewayError(code, detail, { billed: bill ? 'yes' : 'unknown' })
  return { kind: 'failed', error, bill: { upstreamRequestId: jobId, ...bill } }
}
