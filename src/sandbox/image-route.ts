import { randomUUID } from 'node:crypto'
import type { FastifyReply, FastifyRequest } from 'fastify'
import { formatCredits, type Nanocredits } from '../nanocredits.js'
import { costOf } from './account.js'
import { type Desk, meet, NO_PICTURE, pretend, receiveOrder, segment } from './desk.js'
import type { Order } from './order.js'
import type { Triggers } from './triggers.js'

/**
 * Answers `POST /v1/sam-v2-image` (SEGMIND.md): reads the order, holds credits, segments, bills, answers in the form asked for.
 * Only a picture is billed, even when the client has left by then or a trigger keeps it from arriving.
 */
export async function answerImage(desk: Desk, request: FastifyRequest, reply: FastifyReply): Promise<FastifyReply> {
  const startedAt = desk.now()
  const order = await receiveOrder(request, 'v1')
  if ('status' in order) return reply.code(order.status).send({ error: order.error })
  if (order.triggers.delayMs) await desk.wait(order.triggers.delayMs, desk.closing)
  if (order.triggers.status !== undefined) return pretend(desk, reply, order.triggers.status)
  if (!desk.account.hold()) return reply.code(406).send({ error: 'Insufficient credits' })
  const outcome = await segment(desk, order)
  if (outcome.kind !== 'answered') {
    desk.account.release()
    return outcome.kind === 'refused'
      ? reply.code(422).send({ error: outcome.message })
      : reply.code(500).send({ error: 'Internal Polling Error' })
  }
  const cost = costOf(order.image, order.question)
  desk.account.bill(cost)
  billHeaders(reply, { cost, remaining: desk.account.balance, seconds: (desk.now() - startedAt) / 1000 })
  const body = inForm(reply, Buffer.from(outcome.jpeg), order)
  return order.triggers.fate ? meet(order.triggers.fate, reply, body) : reply.send(body)
}

function billHeaders(reply: FastifyReply, bill: { cost: Nanocredits; remaining: Nanocredits; seconds: number }): void {
  reply.headers({
    'x-cost': formatCredits(bill.cost),
    'x-remaining-credits': formatCredits(bill.remaining),
    'x-request-id': randomUUID(),
    'x-generation-time': bill.seconds.toFixed(3),
  })
}

/** The body, and its content type on the reply. */
function inForm(reply: FastifyReply, jpeg: Buffer, { base64, triggers }: Order): Buffer {
  const form: Triggers['form'] | 'json' | 'jpeg' = triggers.form ?? (base64 ? 'json' : 'jpeg')
  if (form === 'jpeg') reply.type('image/jpeg')
  else if (form === 'base64-text') reply.type('text/plain; charset=utf-8')
  else if (form === 'garbage') reply.type('image/jpeg')
  else reply.type('application/json; charset=utf-8')
  const bodies = {
    jpeg: () => jpeg,
    json: () => Buffer.from(JSON.stringify({ image: jpeg.toString('base64') })),
    'data-uri': () => Buffer.from(JSON.stringify({ image: `data:image/jpeg;base64,${jpeg.toString('base64')}` })),
    'base64-text': () => Buffer.from(jpeg.toString('base64')),
    garbage: () => NO_PICTURE,
  }
  return bodies[form]()
}
