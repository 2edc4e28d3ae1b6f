import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { formatCredits, type Nanocredits } from '../contracts/nanocredits.js'
import { costOf } from './account.js'
import {
  breakConnection,
  INVALID_JPEG,
  receiveInput,
  type SandboxContext,
  segment,
  sendSimulatedError,
} from './context.js'
import type { SegmentInput } from './segment-input.js'
import type { Triggers } from './triggers.js'

/**
 * Handles `POST /v1/sam-v2-image` (docs/segmind.md): reads the input, reserves credits, segments,
 * charges, and sends the picture in the requested format. Only a picture is charged, also when the
 * client has disconnected or a trigger breaks the response.
 */
export async function handleImage(
  context: SandboxContext,
  request: FastifyRequest,
  reply: FastifyReply,
): Promise<FastifyReply> {
  const startedAt = context.now()
  const input = await receiveInput(request, 'v1')
  if ('status' in input) return reply.code(input.status).send({ error: input.error })
  const { delayMs, status, disruption } = input.triggers
  if (delayMs) await context.wait(delayMs, context.closing)
  if (status !== undefined) return sendSimulatedError(context, reply, status)
  if (!context.account.reserve()) return reply.code(406).send({ error: 'Insufficient credits' })
  const outcome = await segment(context, input)
  const id = randomUUID()
  const { row } = input.triggers
  if (outcome.kind !== 'answered') {
    context.account.release()
    context.requests.add({ id, startedAt, row })
    return outcome.kind === 'refused'
      ? reply.code(422).send({ error: outcome.message })
      : reply.code(500).send({ error: 'Internal Polling Error' })
  }
  const cost = costOf(input.image, input.question)
  context.account.charge(cost)
  context.requests.add({ id, startedAt, cost, outputId: id, row }, Buffer.from(outcome.jpeg))
  const seconds = (context.now() - startedAt) / 1000
  addBillHeaders(reply, { id, cost, remaining: context.account.balance, seconds })
  const body = encodeBody(reply, Buffer.from(outcome.jpeg), input)
  return disruption ? breakConnection(disruption, reply, body) : reply.send(body)
}

function addBillHeaders(
  reply: FastifyReply,
  bill: { id: string; cost: Nanocredits; remaining: Nanocredits; seconds: number },
): void {
  reply.headers({
    'x-cost': formatCredits(bill.cost),
    'x-remaining-credits': formatCredits(bill.remaining),
    'x-request-id': bill.id,
    'x-generation-time': bill.seconds.toFixed(3),
  })
}

/** Encodes the picture in the requested format and sets the content type of the reply. */
function encodeBody(reply: FastifyReply, jpeg: Buffer, { base64, triggers }: SegmentInput): Buffer {
  const format: Triggers['format'] | 'json' | 'jpeg' = triggers.format ?? (base64 ? 'json' : 'jpeg')
  if (format === 'jpeg' || format === 'garbage') reply.type('image/jpeg')
  else if (format === 'base64-text') reply.type('text/plain; charset=utf-8')
  else reply.type('application/json; charset=utf-8')
  const encoders = {
    jpeg: () => jpeg,
    json: () => Buffer.from(JSON.stringify({ image: jpeg.toString('base64') })),
    'data-uri': () => Buffer.from(JSON.stringify({ image: `data:image/jpeg;base64,${jpeg.toString('base64')}` })),
    'base64-text': () => Buffer.from(jpeg.toString('base64')),
    garbage: () => INVALID_JPEG,
  }
  return encoders[format]()
}
