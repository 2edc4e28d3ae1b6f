import type { FastifyReply, FastifyRequest } from 'fastify'
import { toCredits } from '../nanocredits.js'
import { type Desk, meet, pretend, receiveOrder } from './desk.js'
import type { Completed, Failed, Jobs, Times } from './jobs.js'

/** Where outputs lie; open to everybody who knows the id. */
export const OUTPUTS = '/outputs'

const EXTENSION = '.jpg'

/** What sets the doors for reading apart: v1 has one address for status and result, v2 has two. */
export type View = 'v1' | 'status' | 'result'

/**
 * Answers `POST /v2/sam-v2-image` (SEGMIND.md): reads the order as v1 does, holds credits, queues a job and says where to look for it.
 * A trigger that breaks the connection does so after the job was taken: it goes on, and is billed.
 */
export async function answerSubmit(
  { desk, jobs }: { desk: Desk; jobs: Jobs },
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const order = await receiveOrder(request, 'v2')
  if ('status' in order) return reply.code(order.status).send({ error: order.error })
  const { status, delayMs, fate } = order.triggers
  if (status !== undefined) {
    if (delayMs) await desk.wait(delayMs, desk.closing)
    return pretend(desk, reply, status)
  }
  const taken = jobs.submit(order)
  if ('refused' in taken) {
    return taken.refused === 'spent'
      ? reply.code(406).send({ error: 'Insufficient credits' })
      : reply.code(429).send({ error: 'Too many requests are open' })
  }
  if (fate === 'hang' || fate === 'reset') return meet(fate, reply, Buffer.alloc(0))
  return reply.send(receipt(originOf(request), taken.id))
}

/** Answers where a job stands, or its result, in the form of the door. A failed job is a 422 at each of them. */
export async function answerJob(
  jobs: Jobs,
  view: View,
  request: FastifyRequest<{ Params: { id: string } }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { id } = request.params
  const job = jobs.look(id)
  if (!job) return reply.code(404).send({ error: 'Request not found' })
  if (job.status === 'COMPLETED') return reply.send({ request_id: id, ...completed(job, view, originOf(request)) })
  if (job.status === 'FAILED') return reply.code(422).send({ request_id: id, ...failed(job) })
  return reply.send({ request_id: id, status: job.status })
}

/** Answers with the picture of a job. */
export async function answerOutput(
  jobs: Jobs,
  request: FastifyRequest<{ Params: { name: string } }>,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const { name } = request.params
  const output = name.endsWith(EXTENSION) ? jobs.output(name.slice(0, -EXTENSION.length)) : undefined
  if (!output) return reply.code(404).send({ error: 'Output not found' })
  reply.type('image/jpeg')
  return output.cut ? meet('cut', reply, output.jpeg) : reply.send(output.jpeg)
}

function receipt(origin: string, id: string) {
  return {
    request_id: id,
    status: 'QUEUED',
    poll_url: `${origin}/v1/requests/${id}`,
    status_url: `${origin}/v2/requests/${id}/status`,
    response_url: `${origin}/v2/requests/${id}`,
  }
}

function completed(job: Completed, view: View, origin: string) {
  const { status, width, height } = job
  if (view === 'status') return { status, metrics: seconds(job.times) }
  const output = `${origin}${OUTPUTS}/${job.outputId}${EXTENSION}`
  const money = { cost: toCredits(job.cost), remaining_credits: toCredits(job.remaining) }
  return {
    status,
    output,
    ...(view === 'result' && { images: [{ url: output, content_type: 'image/jpeg', width, height }] }),
    metrics: { ...seconds(job.times), ...money },
  }
}

function failed({ status, error, times }: Failed) {
  return { status, error, metrics: seconds(times) }
}

function seconds({ queuedMs, inferenceMs }: Times) {
  return {
    queue_time: queuedMs / 1000,
    inference_time: inferenceMs / 1000,
    total_time: (queuedMs + inferenceMs) / 1000,
  }
}

/** The address under which the client knows the sandbox; HTTP/1.0 does not tell. */
function originOf(request: FastifyRequest): string {
  const { host } = request.headers
  return host !== undefined && /^[\w.:[\]-]+$/.test(host) ? `http://${host}` : request.server.listeningOrigin
}
