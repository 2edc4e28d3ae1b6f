import type { FastifyReply, FastifyRequest } from 'fastify'
import { defined } from '../../contracts/defined.js'
import { GatewayError } from '../../contracts/errors.js'
import type { Nanocredits } from '../../contracts/nanocredits.js'
import type { OutputForm } from '../../input/output-form.js'
import { withCharge } from '../../segment/failures.js'
import { type SegmentRequest, unknownImage } from '../../segment/keyed-request.js'
import { type Accepted, type SegmentAnswer, segment } from '../../segment/pipeline.js'
import { frameOf, type Shaped, shape } from '../../segment/shape.js'
import { timed } from '../../segment/story.js'
import type { ReceivedRequest } from '../receive/segment-request.js'
import type { TransferMemory } from '../receive/transfer-memory.js'
import type { RequestFacts } from '../server/request-facts.js'
import { sendAccepted, sendAnswer } from './result-response.js'
import { type Mode, scopeOf } from './route-parts.js'

/** An answer in the requested output form. */
export interface ShapedAnswer extends SegmentAnswer {
  shaped: Shaped
}

/**
 * Answers a received request as `POST /segment` does. Throws the errors of docs/reference.md,
 * Errors.
 */
export async function answerRequest(
  request: FastifyRequest,
  reply: FastifyReply,
  received: ReceivedRequest,
  { mode, memory }: { mode: Mode; memory: TransferMemory },
): Promise<FastifyReply> {
  const { facts, lifetime } = request
  const { segmentRequest, base64, ignoredFields } = received
  const { caller, cache, image } = segmentRequest
  const answer = await segmentAndShape(segmentRequest, received, mode, facts)
  facts.resultId = answer.key
  if (answer.how === 'accepted') {
    await requireImage(segmentRequest, mode)
    return sendAccepted(reply, answer.key, { base64, form: received, imageDigest: image.digest, queue: answer.queue })
  }
  recordAnswer(facts, answer)
  const { key, result, mask, frame } = answer.shaped
  lifetime.onEnd(memory.holdBuffer(caller.team, result.body, { isForced: answer.charged > 0 }))
  return sendAnswer(reply, result === answer.result ? answer : { ...answer, key, result }, {
    base64,
    ignoredFields,
    imageDigest: image.digest,
    frame,
    mask,
    uploadMs: facts.uploadMs ?? 0,
    directives: cache,
    remaining: await mode.allowance.remaining(caller.team),
    now: mode.pipeline.now(),
    freshSeconds: mode.pipeline.freshSeconds,
  })
}

/**
 * Runs the pipeline and converts its result into the output form. Records the charge even where the
 * conversion fails.
 */
export async function segmentAndShape(
  request: SegmentRequest,
  { output, simplify }: OutputForm,
  mode: Mode,
  facts: Pick<RequestFacts, 'charged'>,
): Promise<Accepted | (ShapedAnswer & { how: SegmentAnswer['how'] })> {
  const answer = await segment(mode.prepare?.(request) ?? request, mode.pipeline)
  if (answer.how === 'accepted') return answer
  facts.charged = answer.charged
  const { caller, image, cache, story } = request
  const { key, result } = answer
  if (output === undefined) {
    const frame = await frameOf(result, image.uploaded, mode.pipeline)
    return Object.assign(answer, { shaped: { key, result, frame } })
  }
  const form = {
    output,
    ...defined({ simplify }),
    image,
    scope: result.scope ?? '',
    team: caller.team.id,
    isKept: !cache.noStore,
  }
  try {
    return { ...answer, shaped: await timed(story, 'shape', shape({ key, result }, form, mode.pipeline)) }
  } catch (error) {
    throw answer.charged > 0 ? asBilled(error, answer.charged) : error
  }
}

/** Marks an error as billed: the picture is paid for and stored; only its conversion failed. */
function asBilled(error: unknown, charged: Nanocredits): unknown {
  return error instanceof GatewayError ? withCharge(error.asBilled('yes'), charged) : error
}

/**
 * Throws `unknown_image` for an image id the gateway does not hold. A caller that fetches its
 * result later, or sends many selections, then learns at once that it must send the image.
 */
export async function requireImage(
  { image, caller }: Pick<SegmentRequest, 'image' | 'caller'>,
  mode: Mode,
): Promise<void> {
  if (image.uploaded || (await mode.images.has(scopeOf(caller, mode), image.digest))) return
  throw unknownImage(image.digest)
}

/** Records where the answer came from, its charge and its duration. */
export function recordAnswer(facts: RequestFacts, { how, charged, timing }: SegmentAnswer): void {
  facts.cache = how
  facts.charged = charged
  facts.cacheMs = timing.cacheMs
  facts.upstreamMs = timing.upstreamMs
}
