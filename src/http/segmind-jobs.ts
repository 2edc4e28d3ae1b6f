import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { ERRORS, GatewayError } from '../errors.js'
import { toCredits } from '../nanocredits.js'
import { cacheKey } from '../segment/cache-key.js'
import { lookUpResult } from '../segment/result-lookup.js'
import type { CacheKey, Result } from '../segment/types.js'
import { SEGMIND_FORM } from '../segment/upload.js'
import { askShaped, beginStory, laneOf, type ShapedAnswer } from './answer-question.js'
import { callerOf } from './facts.js'
import { fromStore } from './from-store.js'
import type { Lane, LaneParts } from './lane.js'
import { type ReceivedQuestion, receiveQuestion } from './receive-question.js'
import type { OutputAddresses } from './signed-output.js'
import { addUploadRoute } from './upload-route.js'

/** A job as it was submitted. Times in milliseconds since 1970, durations in milliseconds, `cost` in nanocredits. */
export interface SubmittedJob {
  id: string
  team: string
  isTest: boolean
  resultId: CacheKey
  submittedAt: number
  mustBuy: boolean
  end?: JobEnd
}

export type JobEnd =
  | { kind: 'completed'; at: number; cost: number; queueMs: number; upstreamMs: number }
  | { kind: 'unattended'; at: number }
  | { kind: 'failed'; at: number; code: string; message: string; retryable: boolean; billed: string }

export interface JobPort {
  /** Rejects with `StoreError`. */
  open(asked: Pick<SubmittedJob, 'team' | 'isTest' | 'resultId' | 'mustBuy'>): Promise<SubmittedJob>
  /** Never rejects. */
  end(job: SubmittedJob, end: JobEnd): Promise<void>
  /** Rejects with `StoreError`. */
  find(id: string): Promise<SubmittedJob | undefined>
}

export interface JobRouteParts extends LaneParts {
  jobs: JobPort
  outputs: OutputAddresses
  allowNoSelection: boolean
  /** After so long a job of which nothing is known is lost, milliseconds. */
  jobPatienceMs: number
}

/** A submission is refused within this time, or taken. */
const REFUSE_WITHIN_MS = 250
const JOB_ID = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/

interface JobRequest {
  Params: { id: string }
}

/** Submit and poll: `POST /v2/sam-v2-image` and what it names. */
export function addJobRoutes(app: FastifyInstance, parts: JobRouteParts): void {
  addUploadRoute(app, parts, {
    url: '/v2/sam-v2-image',
    form: SEGMIND_FORM,
    isSegminds: true,
    handle: (request, reply) => submit(request, reply, parts),
  })
  const config = { isSegminds: true }
  app.get<JobRequest>('/v1/requests/:id', { config }, (request, reply) => show('v1', request, reply, parts))
  app.get<JobRequest>('/v2/requests/:id/status', { config }, (request, reply) => show('status', request, reply, parts))
  app.get<JobRequest>('/v2/requests/:id', { config }, (request, reply) => show('result', request, reply, parts))
}

async function submit(request: FastifyRequest, reply: FastifyReply, parts: JobRouteParts): Promise<FastifyReply> {
  const lane = laneOf(request, parts)
  beginStory(request, lane)
  const reception = { ...parts, form: SEGMIND_FORM, bodies: lane.bodies }
  const received = await receiveQuestion(request, reception)
  const { caller, cache, image, params } = received.question
  if (cache.noStore)
    throw new GatewayError(
      'invalid_request',
      'Cache-Control: no-store means nothing here: the answer is fetched later. Use /v1/sam-v2-image.',
    )
  const scope = lane.pipeline.cacheScope === 'team' ? caller.team.id : ''
  const job = await fromStore(
    'The job cannot be taken down',
    parts.jobs.open({
      team: caller.team.id,
      isTest: lane.isTest,
      resultId: cacheKey(image.digest, params, scope),
      mustBuy: cache.noCache && !cache.onlyIfCached,
    }),
  )
  await takenOrRefused(request, { job, received, lane, parts })
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

/** Begins the work, which goes on by itself; what it is refused with at once is the answer. Throws the errors of SPEC §6. */
async function takenOrRefused(
  request: FastifyRequest,
  { job, received, lane, parts }: { job: SubmittedJob; received: ReceivedQuestion; lane: Lane; parts: JobRouteParts },
): Promise<void> {
  const holdUntil = (work: Promise<unknown>) => request.hold.until(work)
  const { story } = request.facts
  const question = { ...received.question, prefer: { respondAsync: false }, holdUntil, ...(story && { story }) }
  const work = askShaped(question, undefined, lane, request.facts).then(
    answer => (answer.how === 'accepted' ? undefined : void parts.jobs.end(job, completedAt(answer, lane))),
    (error: unknown) => {
      const failure = asFailure(error, request)
      void parts.jobs.end(job, failedAt(failure, lane))
      return failure.code === 'upstream_slow' ? undefined : failure
    },
  )
  request.hold.until(work)
  let timer: NodeJS.Timeout | undefined
  const patience = new Promise<undefined>(resolve => {
    timer = setTimeout(() => resolve(undefined), REFUSE_WITHIN_MS)
  })
  const refusal = await Promise.race([work, patience]).finally(() => clearTimeout(timer))
  if (refusal) throw refusal
}

function completedAt({ charged, timing }: ShapedAnswer, { pipeline }: Lane): JobEnd {
  const { queueMs, upstreamMs } = timing
  return { kind: 'completed', at: pipeline.now(), cost: charged, queueMs, upstreamMs }
}

function failedAt({ code, message, billed }: GatewayError, { pipeline }: Lane): JobEnd {
  if (code === 'upstream_slow') return { kind: 'unattended', at: pipeline.now() }
  return { kind: 'failed', at: pipeline.now(), code, message, billed, retryable: ERRORS[code].retryable }
}

function asFailure(error: unknown, request: FastifyRequest): GatewayError {
  if (error instanceof GatewayError) return error
  request.log.error({ err: error }, 'a job failed')
  return new GatewayError('internal_error', 'Something went wrong inside the gateway.', { billed: 'unknown' })
}

type View = 'v1' | 'status' | 'result'

async function show(
  view: View,
  request: FastifyRequest<JobRequest>,
  reply: FastifyReply,
  parts: JobRouteParts,
): Promise<FastifyReply> {
  const lane = laneOf(request, parts)
  const job = await findJob(request, lane, parts)
  reply.header('cache-control', 'no-store')
  const sight = await sightOf(job, request, { lane, parts })
  const { id } = job
  if (sight.status === 'FAILED') {
    const { code, message, retryable, billed } = sight.failure
    return reply.code(422).send({ request_id: id, status: 'FAILED', error: message, code, retryable, billed })
  }
  if (sight.status === 'PROCESSING') return reply.send({ request_id: id, status: 'PROCESSING' })
  const metrics = metricsOf(job)
  if (view === 'status') return reply.send({ request_id: id, status: 'COMPLETED', metrics })
  const { contentType } = sight.result
  const path = await fromStore(
    'The address of the result cannot be signed',
    parts.outputs.make({ resultId: job.resultId, isTest: job.isTest }, contentType),
  )
  const output = `${originOf(request)}${path}`
  const remaining = await lane.askRemaining(callerOf(request).team)
  const money = {
    ...(job.end?.kind === 'completed' && { cost: toCredits(job.end.cost) }),
    ...(remaining !== undefined && { remaining_credits: toCredits(remaining) }),
  }
  return reply.send({
    ...{ request_id: id, status: 'COMPLETED', output },
    ...(view === 'result' && { images: [{ url: output, content_type: contentType }] }),
    metrics: { ...metrics, ...money },
  })
}

/** Of this team, by a key of the same kind: nobody else is told that there is one. Throws `unknown_result`, `store_unavailable`. */
async function findJob(
  request: FastifyRequest<JobRequest>,
  lane: Lane,
  { jobs }: JobRouteParts,
): Promise<SubmittedJob> {
  const { id } = request.params
  const job = JOB_ID.test(id) ? await fromStore('The job cannot be looked up', jobs.find(id)) : undefined
  if (job && job.team === callerOf(request).team.id && job.isTest === lane.isTest) return job
  throw new GatewayError('unknown_result', 'Request not found: there is none with this id, or it is over for an hour.')
}

type Failure = { code: string; message: string; retryable: boolean; billed: string }
type Sight = { status: 'PROCESSING' } | { status: 'COMPLETED'; result: Result } | { status: 'FAILED'; failure: Failure }

/** How a job stands: what was taken down of its end, else what there is under the id of its result. */
async function sightOf(
  job: SubmittedJob,
  request: FastifyRequest,
  { lane, parts }: { lane: Lane; parts: JobRouteParts },
): Promise<Sight> {
  const { end } = job
  if (end?.kind === 'failed') return { status: 'FAILED', failure: end }
  const isLost = lane.pipeline.now() - job.submittedAt > parts.jobPatienceMs
  // An answer may be there already: before the end is taken down nobody knows whether it is the one that was asked for, and what it cost.
  if (!isLost && (!end || (end.kind === 'unattended' && job.mustBuy))) return { status: 'PROCESSING' }
  try {
    const state = await lookUpResult(job.resultId, callerOf(request), lane.pipeline)
    return state.how === 'running' ? { status: 'PROCESSING' } : { status: 'COMPLETED', result: state.result }
  } catch (error) {
    if (!(error instanceof GatewayError) || error.code === 'store_unavailable') throw error
    // Neither an answer nor a purchase: it was just taken, or is in a process that nobody has heard of for long.
    if (error.code === 'unknown_result' && end?.kind !== 'completed' && !isLost) return { status: 'PROCESSING' }
    const { code, message, billed } = error
    return { status: 'FAILED', failure: { code, message, billed, retryable: ERRORS[code].retryable } }
  }
}

/** Seconds, as Segmind has them. */
function metricsOf({ submittedAt, end }: SubmittedJob): Record<string, number> {
  if (end?.kind !== 'completed') return {}
  return {
    queue_time: Math.round(end.queueMs) / 1000,
    inference_time: Math.round(end.upstreamMs) / 1000,
    total_time: Math.max(0, Math.round(end.at - submittedAt)) / 1000,
  }
}

/** The address under which the caller knows the gateway, by what a trusted proxy says of it. */
function originOf(request: FastifyRequest): string {
  return `${request.protocol}://${request.host}`
}
