import type { FastifyReply } from 'fastify'
import { type Nanocredits, toCredits } from '../nanocredits.js'
import type { Quote } from '../segment/quote.js'

/** What is told beside the quote itself. */
export interface QuoteSurroundings {
  imageDigest: string
  ignoredFields: readonly string[]
  /** What the team may still spend. */
  remaining: Nanocredits | undefined
  queue: { depth: number; waitMs?: number }
  creditState: 'normal' | 'reserve' | 'empty' | undefined
}

/** Answers a quote as JSON; what is not known is left out. */
export function sendQuote(
  reply: FastifyReply,
  { key, wouldBe, cost, refusal }: Quote,
  around: QuoteSurroundings,
): FastifyReply {
  const { imageDigest, ignoredFields, remaining, queue, creditState } = around
  const imageId = `sha256:${imageDigest}`
  return reply
    .headers({
      'cache-control': 'no-store',
      'x-result-id': key,
      'x-image-id': imageId,
      ...(ignoredFields.length > 0 && { 'x-ignored-fields': ignoredFields.join(', ') }),
    })
    .send({
      ...{ resultId: key, imageId, wouldBe, costCredits: toCredits(cost), allowed: refusal === undefined },
      ...(refusal && {
        refusal: {
          code: refusal.code,
          detail: refusal.message,
          ...(refusal.retryAfterSeconds !== undefined && { retryAfterSeconds: refusal.retryAfterSeconds }),
        },
      }),
      ...(remaining !== undefined && { remainingCredits: toCredits(remaining) }),
      queue: {
        depth: queue.depth,
        ...(queue.waitMs !== undefined && { waitSeconds: Math.round(queue.waitMs / 100) / 10 }),
      },
      ...(creditState && { creditState }),
    })
}
