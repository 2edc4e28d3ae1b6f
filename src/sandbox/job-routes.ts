import type { FastifyReply, FastifyRequest } from 'fastify'
import { toCredits } from '../contracts/nanocredits.js'
import { breakConnection, receiveInput, type SandboxContext, sendSimulatedError } from './context.js'
import type { CompletedJob, FailedJob, JobQueue, JobTimes } from './job-queue.js'

/** Path of the outputs. Requests need no key. */
export const OUTPUTS_PATH = '/outputs'

export const EXTENSION = '.jpg'

/** Response form of a polling route: v1 has one route for status and result, v2 has two. */
export type JobView = 'v1' | 'status' | 'result'

/**
 * Handles `POST /v2/sam-v2-image` (docs/segmind.md): reads the input as v1 does, reserves credits,
 * queues a job and returns its URLs. A trigger that breaks the connection does so after the job was
 * accepted. The job continues and is charged.
 */
export async function handleSubmission(
  { context, jobs }: { context: SandboxContext; jobs: JobQueue },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const input = await receiveInput(request, 'v2')
  if ('status' in input) return reply.code(input.status).send({ error: input.error })
  const { status, delayMs, disruption } = input.triggers
  if (status !== undefined) {
    if (delayMs) await context.wait(delayMs, context.closing)
    return sendSimulatedError(context, reply, status)
  }
  const submitted = jobs.submit(input)
  if ('rejected' in submitted) {
    return submitted.rejected === 'no_credits'
      ? reply.code(406).send({ error: 'Insufficient credits' })
      : reply.code(429).send({ error: 'Too many requests are open' })
  }
  if (disruption === 'hang' || disruption === 'reset') return breakConnection(disruption, reply, Buffer.alloc(0))
  return reply.send(submissionBody(originOf(request), submitted.id))
}

/** Sends the status or the result of a job. A failed job gets 422 on each route. */
export async function handleJob(
  jobs: JobQueue,
  view: JobView,
  request: FastifyRequest<{ Params: { id: string } }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { id } = request.params
  const job = jobs.find(id)
  if (!job) return reply.code(404).send({ error: 'Request not found' })
  if (job.status === 'COMPLETED') return reply.send({ request_id: id, ...completedBody(job, view, originOf(request)) })
  if (job.status === 'FAILED') return reply.code(422).send({ request_id: id, ...failedBody(job) })
  return reply.send({ request_id: id, status: job.status })
}

/** Sends the picture of a job. */
export async function handleOutput(
  outputs: Pick<JobQueue, 'output'>,
  request: FastifyRequest<{ Params: { name: string } }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name } = request.params
  const output = name.endsWith(EXTENSION) ? outputs.output(name.slice(0, -EXTENSION.length)) : undefined
  if (!output) return reply.code(404).send({ error: 'Output not found' })
  reply.type('image/jpeg')
  return output.isCut ? breakConnection('cut', reply, output.jpeg) : reply.send(output.jpeg)
}

function submissionBody(origin: string, id: string) {
  return {
    request_id: id,
    status: 'QUEUED',
    poll_url: `${origin}/v1/requests/${id}`,
    status_url: `${origin}/v2/requests/${id}/status`,
    response_url: `${origin}/v2/requests/${id}`,
  }
}

function completedBody(job: CompletedJob, view: JobView, origin: string) {
  const { status, width, height } = job
  if (view === 'status') return { status, metrics: timeMetrics(job.times) }
  const output = `${origin}${OUTPUTS_PATH}/${job.outputId}${EXTENSION}`
  const creditMetrics = { cost: toCredits(job.cost), remaining_credits: toCredits(job.remaining) }
  return {
    status,
    output,
    ...(view === 'result' && { images: [{ url: output, content_type: 'image/jpeg', width, height }] }),
    metrics: { ...timeMetrics(job.times), ...creditMetrics },
  }
}

function failedBody({ status, error, times }: FailedJob) {
  return { status, error, metrics: timeMetrics(times) }
}

function timeMetrics({ queuedMs, inferenceMs }: JobTimes) {
  return {
    queue_time: queuedMs / 1000,
    inference_time: inferenceMs / 1000,
    total_time: (queuedMs + inferenceMs) / 1000,
  }
}

/** Returns the origin that the client used. An HTTP/1.0 request may have no `Host`. */
export function originOf(request: FastifyRequest): string {
  const { host } = request.headers
  return host !== undefined && /^[\w.:[\]-]+$/.test(host) ? `http://${host}` : request.server.listeningOrigin
}
