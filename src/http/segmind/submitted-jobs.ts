import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { withDeadline } from '../../contracts/deadline.js'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import { type Nanocredits, toCredits } from '../../contracts/nanocredits.js'
import type { JobEnd, NewSubmittedJob, SubmittedJob } from '../../contracts/records.js'
import type { Result, Team } from '../../contracts/types.js'
import { SEGMIND_FORM } from '../../input/form.js'
import { cacheKey } from '../../segment/cache-key.js'
import { lookUpResult, purchaseCostFor } from '../../segment/result-lookup.js'
import { type ReceivedRequest, receiveSegmentRequest } from '../receive/segment-request.js'
import { addUploadRoute } from '../receive/upload-route.js'
import { type ShapedAnswer, segmentAndShape } from '../segment/answer-request.js'
import { beginSegmentation, type Mode, modeOf, scopeOf, type TeamRouteParts } from '../segment/route-parts.js'
import type { SignedUrls } from '../segment/signed-urls.js'
import { callerOf } from '../server/request-facts.js'
import { originOf } from '../server/request-host.js'
import { orStoreUnavailable } from '../server/store-unavailable.js'

interface JobRecords {
  /** Rejects with `StoreError`. */
  open(job: NewSubmittedJob): Promise<SubmittedJob>
  /** Never rejects. */
  end(job: SubmittedJob, end: JobEnd): Promise<void>
  /** Rejects with `StoreError`. */
  find(id: string): Promise<SubmittedJob | undefined>
}

export interface JobRouteParts extends TeamRouteParts {
  jobs: JobRecords
  signedUrls: SignedUrls
  /** `ALLOW_NO_SELECTION`. */
  allowNoSelection: boolean
  /** Age after which a job without a known end is lost, milliseconds. */
  jobPatienceMs: number
}

/** Time in which a submission is refused. Later failures are reported to polls. */
const REFUSE_WITHIN_MS = 250
const JOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

interface JobRequest {
  Params: { id: string }
}

/** Adds submit and poll: `POST /v2/sam-v2-image` and the paths that its response names. */
export function addJobRoutes(app: FastifyInstance, parts: JobRouteParts): void {
  addUploadRoute(app, parts, {
    url: '/v2/sam-v2-image',
    form: SEGMIND_FORM,
    isDropIn: true,
    spends: 'request',
    handle: (request, reply) => submit(request, reply, parts),
  })
  const config = { isDropIn: true }
  app.get<JobRequest>('/v1/requests/:id', { config }, (request, reply) => poll('v1', request, reply, parts))
  app.get<JobRequest>('/v2/requests/:id/status', { config }, (request, reply) => poll('status', request, reply, parts))
  app.get<JobRequest>('/v2/requests/:id', { config }, (request, reply) => poll('result', request, reply, parts))
}

async function submit(request: FastifyRequest, reply: FastifyReply, parts: JobRouteParts): Promise<FastifyReply> {
  const mode = beginSegmentation(request, parts)
  const received = await receiveSegmentRequest(request, parts, { form: SEGMIND_FORM, bodies: mode.bodies })
  const { caller, cache, image, params } = received.segmentRequest
  if (cache.noStore) {
    const detail =
      'Cache-Control: no-store has no effect here, because the result is fetched later. Use /v1/sam-v2-image.'
    throw new GatewayError('invalid_request', detail)
  }
  const opening = parts.jobs.open({
    team: caller.team.id,
    isTest: mode.isTest,
    resultId: cacheKey(image.digest, params, scopeOf(caller, mode)),
    mustBuy: cache.noCache && !cache.onlyIfCached,
  })
  const job = await orStoreUnavailable(opening, 'The job cannot be recorded')
  await startJob(request, { job, received, mode, parts })
  request.facts.resultId = job.resultId
  const origin = originOf(request)
  return reply.headers({ 'cache-control': 'no-store', 'x-image-id': `sha256:${image.digest}` }).send({
    request_id: job.id,
    status: 'QUEUED',
    poll_url: `${origin}/v1/requests/${job.id}`,
    status_url: `${origin}/v2/requests/${job.id}/status`,
    response_url: `${origin}/v2/requests/${job.id}`,
  })
}

interface JobStart {
  job: SubmittedJob
  received: ReceivedRequest
  mode: Mode
  parts: JobRouteParts
}

/**
 * Starts the work, which continues in the background. Throws an early failure; docs/reference.md,
 * Errors.
 */
async function startJob(request: FastifyRequest, { job, received, mode, parts }: JobStart): Promise<void> {
  const { facts, hold } = request
  // Its caller fetches the result later, so it cannot leave.
  const segmentRequest = { ...received.segmentRequest, prefer: { respondAsync: false }, onGone: undefined }
  const work = segmentAndShape(segmentRequest, {}, mode, facts).then(
    answer => (answer.how === 'accepted' ? undefined : void parts.jobs.end(job, completion(answer, mode))),
    (error: unknown) => {
      const failure = asFailure(error, request)
      void parts.jobs.end(job, failureEnd(failure, mode))
      return failure.code === 'upstream_slow' ? undefined : failure
    },
  )
  hold.until(work)
  const refusal = await withDeadline(work, REFUSE_WITHIN_MS, () => undefined)
  if (refusal) throw refusal
}

function completion({ charged, timing }: ShapedAnswer, { pipeline }: Mode): JobEnd {
  const { queueMs, upstreamMs } = timing
  return { kind: 'completed', at: pipeline.now(), cost: charged, queueMs, upstreamMs }
}

function failureEnd({ code, message, billed, retryable }: GatewayError, { pipeline }: Mode): JobEnd {
  if (code === 'upstream_slow') return { kind: 'unattended', at: pipeline.now() }
  return { kind: 'failed', at: pipeline.now(), code, message, billed, retryable }
}

function asFailure(error: unknown, request: FastifyRequest): GatewayError {
  if (error instanceof GatewayError) return error
  request.log.error({ err: error }, 'job failed')
  return new GatewayError('internal_error', 'Internal error of the gateway.', { billed: 'unknown' })
}

type View = 'v1' | 'status' | 'result'

async function poll(
  view: View,
  request: FastifyRequest<JobRequest>,
  reply: FastifyReply,
  parts: JobRouteParts,
): Promise<FastifyReply> {
  const mode = modeOf(request, parts)
  const job = await findJob(request, mode, parts)
  reply.header('cache-control', 'no-store')
  const state = await stateOf(job, request, { mode, parts })
  const { id } = job
  if (state.status === 'FAILED') {
    const { code, message, retryable, billed } = state.failure
    return reply.code(422).send({ request_id: id, status: 'FAILED', error: message, code, retryable, billed })
  }
  if (state.status === 'PROCESSING') return reply.send({ request_id: id, status: 'PROCESSING' })
  const metrics = metricsOf(job)
  if (view === 'status') return reply.send({ request_id: id, status: 'COMPLETED', metrics })
  const { contentType } = state.result
  const signing = parts.signedUrls.create({ resultId: job.resultId, isTest: job.isTest }, contentType)
  const output = `${originOf(request)}${await orStoreUnavailable(signing, 'The URL of the result cannot be signed')}`
  const remaining = await mode.refreshRemaining(callerOf(request).team)
  const money = defined({
    cost: toCredits(costOf(job, state.result, callerOf(request).team)),
    remaining_credits: remaining === undefined ? undefined : toCredits(remaining),
  })
  return reply.send({
    request_id: id,
    status: 'COMPLETED',
    output,
    ...(view === 'result' && { images: [{ url: output, content_type: contentType }] }),
    metrics: { ...metrics, ...money },
  })
}

/**
 * Finds a job of the same team and kind of key. Throws the same `unknown_result` for any other job;
 * `store_unavailable`.
 */
async function findJob(
  request: FastifyRequest<JobRequest>,
  mode: Mode,
  { jobs }: JobRouteParts,
): Promise<SubmittedJob> {
  const { id } = request.params
  const job = JOB_ID.test(id) ? await orStoreUnavailable(jobs.find(id), 'The job cannot be looked up') : undefined
  if (job && job.team === callerOf(request).team.id && job.isTest === mode.isTest) return job
  throw new GatewayError('unknown_result', 'Request not found: no job has this id, or it ended more than an hour ago.')
}

type Failure = Pick<JobEnd & { kind: 'failed' }, 'code' | 'message' | 'retryable' | 'billed'>
type JobState =
  | { status: 'PROCESSING' }
  | { status: 'COMPLETED'; result: Result }
  | { status: 'FAILED'; failure: Failure }

/** Determines a job's state from its recorded end, else from the state of its result. */
async function stateOf(
  job: SubmittedJob,
  request: FastifyRequest,
  { mode, parts }: { mode: Mode; parts: JobRouteParts },
): Promise<JobState> {
  const { end } = job
  if (end?.kind === 'failed') return { status: 'FAILED', failure: end }
  const isLost = mode.pipeline.now() - job.submittedAt > parts.jobPatienceMs
  // A result may be stored already. Until the end is recorded, it may be an earlier one, and its
  // cost is unknown.
  if (!isLost && (!end || (end.kind === 'unattended' && job.mustBuy))) return { status: 'PROCESSING' }
  try {
    const state = await lookUpResult(job.resultId, callerOf(request), mode.pipeline)
    return state.how === 'running' ? { status: 'PROCESSING' } : { status: 'COMPLETED', result: state.result }
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code === 'store_unavailable') throw error
    // Neither a result nor a purchase: the job was just submitted, or another process has not
    // reported it yet.
    if (error.code === 'unknown_result' && end?.kind !== 'completed' && !isLost) return { status: 'PROCESSING' }
    const { code, message, billed, retryable } = error
    return { status: 'FAILED', failure: { code, message, billed, retryable } }
  }
}

/**
 * Returns what a job cost its team, as `x-cost` does: 0 where it found a result or another team
 * bought it. A job that outlasted its wait has no record of its charge, but its result does.
 */
function costOf({ end }: SubmittedJob, result: Result, team: Team): Nanocredits {
  return end?.kind === 'completed' ? end.cost : (purchaseCostFor(team, result) ?? 0)
}

/** Durations in seconds, as Segmind reports them. */
function metricsOf({ submittedAt, end }: SubmittedJob): Record<string, number> {
  if (end?.kind !== 'completed') return {}
  return {
    queue_time: Math.round(end.queueMs) / 1000,
    inference_time: Math.round(end.upstreamMs) / 1000,
    total_time: Math.max(0, Math.round(end.at - submittedAt)) / 1000,
  }
}
