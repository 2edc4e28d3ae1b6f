import type { FastifyReply } from 'fastify'
import type { CreditStateName } from '../../contracts/account.js'
import { defined } from '../../contracts/defined.js'
import type { GatewayError } from '../../contracts/errors.js'
import { type Nanocredits, toCredits } from '../../contracts/nanocredits.js'
import type { Quote } from '../../segment/quote.js'
import { placeToJson } from './result-response.js'

/** Members of the response that do not belong to the quote. Undefined ones are left out. */
export interface QuoteContext {
  imageDigest: string
  ignoredFields: readonly string[]
  /** Credits the team may still spend. */
  remaining: Nanocredits | undefined
  creditState: CreditStateName | undefined
}

export function sendQuote(
  reply: FastifyReply,
  { key, wouldBe, cost, frame, refusal, queue }: Quote,
  { imageDigest, ignoredFields, remaining, creditState }: QuoteContext,
): FastifyReply {
  const imageId = `sha256:${imageDigest}`
  return reply
    .headers({
      'cache-control': 'no-store',
      'x-result-id': key,
      'x-image-id': imageId,
      ...(ignoredFields.length > 0 && { 'x-ignored-fields': ignoredFields.join(', ') }),
    })
    .send({
      resultId: key,
      imageId,
      ...frame,
      wouldBe,
      costCredits: toCredits(cost),
      allowed: refusal === undefined,
      queue: { depth: queue.depth, ...placeToJson(queue) },
      ...defined({
        refusal: refusal && refusalToJson(refusal),
        remainingCredits: remaining === undefined ? undefined : toCredits(remaining),
        creditState,
      }),
    })
}

function refusalToJson({ code, message, retryAfterSeconds }: GatewayError) {
  return { code, detail: message, ...defined({ retryAfterSeconds }) }
}
