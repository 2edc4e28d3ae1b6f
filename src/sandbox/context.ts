import type { FastifyReply, FastifyRequest } from 'fastify'
import type { Clock } from '../contracts/clock.js'
import { defined } from '../contracts/defined.js'
import type { Account } from './account.js'
import type { RequestLog } from './request-log.js'
import { collectParts, type Fields, parseInput, type Rejection, type SegmentInput } from './segment-input.js'
import type { Outcome, Segmenter } from './segmenter.js'
import { type Api, SIMULATED_ERRORS, type Triggers } from './triggers.js'

/** Dependencies of the image routes and of v2 jobs. */
export interface SandboxContext {
  account: Account
  requests: RequestLog
  segmenter: Segmenter
  /** Added to the duration of each segmentation. */
  latencyMs: number
  now: Clock
  wait: (milliseconds: number, until: AbortSignal) => Promise<void>
  /** Ends waits when the sandbox closes. */
  closing: AbortSignal
}

/** Body of the trigger `garbage`. */
export const INVALID_JPEG = Buffer.from('this is not a picture')

/** Reads and validates a JSON or multipart request. */
export async function receiveInput(request: FastifyRequest, api: Api): Promise<SegmentInput | Rejection> {
  const fields = request.isMultipart() ? await collectParts(request.parts()) : request.body
  return parseInput(typeof fields === 'object' && fields !== null ? (fields as Fields) : {}, api)
}

/** Waits for the latency, then segments the image. Never rejects. */
export async function segment(context: SandboxContext, input: SegmentInput): Promise<Outcome> {
  if (context.latencyMs > 0) await context.wait(context.latencyMs, context.closing)
  if (input.triggers.fails) return { kind: 'refused', message: 'Inference failed' }
  const { image, prompt, points, removed, overlay } = input
  return context.segmenter.segment({ image, points, removed, overlay, ...defined({ prompt }) })
}

/** Sends the entry of `SIMULATED_ERRORS` with this name. */
export function sendSimulatedError(context: SandboxContext, reply: FastifyReply, name: string): FastifyReply {
  const { status, body, resetSeconds } = SIMULATED_ERRORS[name] ?? { status: 500, body: {} }
  if (resetSeconds !== undefined) {
    reply.header('x-rate-limit-reset-at-utc', new Date(context.now() + resetSeconds * 1000).toISOString())
  }
  if (typeof body === 'string') reply.type('text/html; charset=utf-8')
  return reply.code(status).send(body)
}

/**
 * Breaks the connection after the call was accepted, so that the client cannot know the outcome.
 */
export function breakConnection(
  disruption: NonNullable<Triggers['disruption']>,
  reply: FastifyReply,
  body: Buffer,
): FastifyReply {
  reply.hijack()
  const { raw } = reply
  if (disruption === 'reset') raw.socket?.resetAndDestroy()
  if (disruption === 'cut') {
    raw.writeHead(200, { ...(reply.getHeaders() as Record<string, string>), 'content-length': body.length })
    raw.write(body.subarray(0, Math.floor(body.length / 2)), () => raw.destroy())
  }
  return reply
}
