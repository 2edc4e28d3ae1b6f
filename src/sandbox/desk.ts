import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Account } from './account.js'
import { collectParts, type Fields, type Order, type Refused, readOrder } from './order.js'
import type { Outcome, Segmenter } from './segmenter.js'
import { type Api, PRETENDED, type Triggers } from './triggers.js'

/** What the doors for images work with. */
export interface Desk {
  account: Account
  segmenter: Segmenter
  /** Added to the time that each picture takes. */
  latencyMs: number
  /** Milliseconds since 1970. */
  now: () => number
  wait: (milliseconds: number, until: AbortSignal) => Promise<void>
  /** Ends waits when the sandbox closes. */
  closing: AbortSignal
}

/** What is sent instead of a picture on request. */
export const NO_PICTURE = Buffer.from('this is not a picture')

/** Reads the order in a request, JSON or multipart. */
export async function receiveOrder(request: FastifyRequest, api: Api): Promise<Order | Refused> {
  const fields = request.isMultipart() ? await collectParts(request.parts()) : request.body
  return readOrder(typeof fields === 'object' && fields !== null ? (fields as Fields) : {}, api)
}

/** Makes the picture, after the latency. Never rejects. */
export async function segment(desk: Desk, order: Order): Promise<Outcome> {
  if (desk.latencyMs > 0) await desk.wait(desk.latencyMs, desk.closing)
  if (order.triggers.fails) return { kind: 'refused', message: 'Inference failed' }
  const { image, points, removed, overlay } = order
  return desk.segmenter.segment({
    image,
    points,
    removed,
    overlay,
    ...(order.prompt === undefined ? {} : { prompt: order.prompt }),
  })
}

/** Answers with a row of `PRETENDED`. */
export function pretend(desk: Desk, reply: FastifyReply, name: string): FastifyReply {
  const { status, body, resetSeconds } = PRETENDED[name] ?? { status: 500, body: {} }
  if (resetSeconds !== undefined) {
    reply.header('x-rate-limit-reset-at-utc', new Date(desk.now() + resetSeconds * 1000).toISOString())
  }
  if (typeof body === 'string') reply.type('text/html; charset=utf-8')
  return reply.code(status).send(body)
}

/** Ends the connection the way a trigger wants, after the call was taken: the outcome that a client cannot know. */
export function meet(fate: NonNullable<Triggers['fate']>, reply: FastifyReply, body: Buffer): FastifyReply {
  reply.hijack()
  const { raw } = reply
  if (fate === 'reset') raw.socket?.resetAndDestroy()
  if (fate === 'cut') {
    raw.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), 'content-length': body.length })
    raw.write(body.subarray(0, Math.floor(body.length / 2)), () => raw.destroy())
  }
  return reply
}
