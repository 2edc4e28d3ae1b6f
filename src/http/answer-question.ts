import type { FastifyReply, FastifyRequest } from 'fastify'
import { GatewayError } from '../errors.js'
import type { Nanocredits } from '../nanocredits.js'
import { withCharge } from '../segment/acceptance.js'
import { type Accepted, type SegmentAnswer, segment } from '../segment/pipeline.js'
import type { SegmentRequest } from '../segment/question.js'
import { type Shaped, shape, type Wish } from '../segment/shape.js'
import { Story, timed } from '../segment/story.js'
import { sendAccepted, sendAnswer } from './answer.js'
import { callerOf, type Facts } from './facts.js'
import type { Lane } from './lane.js'
import type { ReceivedQuestion } from './receive-question.js'

/** An answer in the form that was asked for. */
export interface ShapedAnswer extends SegmentAnswer {
  shaped: Shaped
}

/** Answers a question that was received, as `POST /segment` does. Throws the errors of SPEC §6. */
export async function answerQuestion(
  request: FastifyRequest,
  reply: FastifyReply,
  { question, base64, output, ignoredFields }: ReceivedQuestion,
  lane: Lane,
): Promise<FastifyReply> {
  const { facts } = request
  const imageDigest = question.image.digest
  const { story } = facts
  const holdUntil = (work: Promise<unknown>) => request.hold.until(work)
  const asked = { ...question, holdUntil, ...(story && { story }) }
  const answered = await askShaped(asked, output, lane, facts)
  facts.resultId = answered.key
  if (answered.how === 'accepted') {
    await requireImage(question, lane)
    return sendAccepted(reply, answered.key, { base64, output, imageDigest })
  }
  noteAnswer(facts, answered)
  const { shaped } = answered
  return sendAnswer(
    reply,
    { ...answered, key: shaped.key, result: shaped.result },
    {
      ...{ base64, ignoredFields, imageDigest, mask: shaped.mask },
      uploadMs: facts.uploadMs ?? 0,
      directives: question.cache,
      remaining: await lane.remaining(question.caller.team),
      now: lane.pipeline.now(),
      freshSeconds: lane.pipeline.freshSeconds,
    },
  )
}

/** Asks, and makes the form of the answer; what is charged is told to `facts` even where the form cannot be made. */
export async function askShaped(
  question: SegmentRequest,
  output: Wish['output'],
  lane: Lane,
  facts: Pick<Facts, 'charged'>,
): Promise<Accepted | (ShapedAnswer & { how: SegmentAnswer['how'] })> {
  const answered = await segment(lane.prepare(question), lane.pipeline)
  if (answered.how === 'accepted') return answered
  facts.charged = answered.charged
  const { caller, image, cache } = question
  const wish = { output, image, scope: answered.result.scope ?? '', team: caller.team.id, isKept: !cache.noStore }
  try {
    const shaping = shape({ key: answered.key, result: answered.result }, wish, lane.pipeline)
    return { ...answered, shaped: await (output === undefined ? shaping : timed(question.story, 'shape', shaping)) }
  } catch (error) {
    throw answered.charged > 0 ? asBilled(error, answered.charged) : error
  }
}

/** The picture was paid for, and is there: only its form could not be made. */
function asBilled(error: unknown, charged: Nanocredits): unknown {
  if (!(error instanceof GatewayError)) return error
  const { code, message, retryAfterSeconds, headers, cause } = error
  const again = retryAfterSeconds === undefined ? {} : { retryAfterSeconds }
  return withCharge(new GatewayError(code, message, { billed: 'yes', headers, cause, ...again }), charged)
}

/**
 * An image that is not there is told at once, so that its sender sends it: whoever would come back later, or asks a hundred things of it, would
 * only find the same. Throws `unknown_image`.
 */
export async function requireImage(
  { image, caller }: Pick<SegmentRequest, 'image' | 'caller'>,
  lane: Lane,
): Promise<void> {
  const scope = lane.pipeline.cacheScope === 'team' ? caller.team.id : ''
  if (image.uploaded || (await lane.images.has(scope, image.digest))) return
  throw new GatewayError('unknown_image', `The gateway does not hold the image sha256:${image.digest}; send its bytes.`)
}

/** From here on it is taken down what becomes of a request. Test keys leave nothing to explain: what they were answered was made up. */
export function beginStory({ facts }: FastifyRequest, { isTest }: Lane): void {
  if (!isTest) facts.story = new Story()
}

/** Where an answer came from, what it cost and how long that took. */
export function noteAnswer(facts: Facts, answered: SegmentAnswer): void {
  facts.cache = answered.how
  facts.charged = answered.charged
  facts.cacheMs = answered.timing.cacheMs
  facts.upstreamMs = answered.timing.upstreamMs
}

/** The lane of whoever asks. */
export function laneOf(
  request: FastifyRequest,
  { laneOf }: { laneOf(caller: ReturnType<typeof callerOf>): Lane },
): Lane {
  return laneOf(callerOf(request))
}
