import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { formatCredits } from '../../contracts/nanocredits.js'
import { BATCH_FORM, type FormFields } from '../../input/form.js'
import { answerBatch, parseSelections, type Selection, selectionId } from '../../segment/batch.js'
import type { RequestedImage } from '../../segment/keyed-request.js'
import { readHeaders } from '../receive/segment-request.js'
import { receiveUpload } from '../receive/upload.js'
import { addUploadRoute } from '../receive/upload-route.js'
import { callerOf } from '../server/request-facts.js'
import { requireImage, type ShapedAnswer } from './answer-request.js'
import { type BatchFormat, batchFormatOf } from './batch-formats.js'
import { BatchSelections, type SelectionParts } from './batch-selections.js'
import { type Mode, modeOf, type TeamRouteParts } from './route-parts.js'

export interface BatchRouteParts extends TeamRouteParts, SelectionParts {
  /** Selections of one batch that are bought at the same time. */
  batchParallel: number
  /** Counts selections towards the team's rate, all or none. Throws `rate_limited`. */
  countSelections(request: FastifyRequest, reply: FastifyReply, selections: number): Promise<void>
}

/**
 * Adds `POST /segment/batch`: one image and many selections. Each is answered as soon as it is
 * ready, as `multipart/mixed`, or as NDJSON where `Accept` prefers it.
 */
export function addBatchRoute(app: FastifyInstance, parts: BatchRouteParts): void {
  addUploadRoute(app, parts, {
    url: '/segment/batch',
    form: BATCH_FORM,
    spends: 'selections',
    handle: (request, reply) => answerInStream(request, reply, parts),
  })
}

async function answerInStream(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: BatchRouteParts,
): Promise<FastifyReply> {
  const mode = modeOf(request, parts)
  const { selections, image } = await receiveBatch(request, reply, parts)
  const batch = { ...readHeaders(request), image }
  await requireImage(batch, mode)
  const remaining = await mode.allowance.remaining(callerOf(request).team)
  const format = batchFormatOf(request.headers.accept)
  const stream = Readable.from(encodeItems(batch, selections, { request, mode, format, parts }), {
    objectMode: false,
    // One item at a time: nothing is prepared before the client has read what came before.
    highWaterMark: 1,
  })
  request.hold.until(new Promise<void>(resolve => stream.once('close', resolve)))
  return reply
    .headers({
      'cache-control': 'no-store',
      'x-image-id': `sha256:${image.digest}`,
      ...(remaining !== undefined && { 'x-remaining-credits': formatCredits(remaining) }),
    })
    .type(format.contentType)
    .send(stream)
}

/**
 * Receives a batch and counts its selections, before an image URL is fetched. A body without
 * readable selections counts as one request.
 */
async function receiveBatch(
  request: FastifyRequest,
  reply: FastifyReply,
  parts: BatchRouteParts,
): Promise<{ selections: Selection[]; image: RequestedImage }> {
  let selections: Selection[] | undefined
  const accept = async (fields: FormFields): Promise<void> => {
    selections = parseSelections(fields)
    await parts.countSelections(request, reply, selections.length)
  }
  try {
    const { image } = await receiveUpload(request, parts, BATCH_FORM, accept)
    return { selections: selections ?? [], image }
  } catch (error) {
    if (!selections) await parts.countSelections(request, reply, 1)
    throw error
  }
}

interface BatchContext {
  request: FastifyRequest
  mode: Mode
  format: BatchFormat
  parts: BatchRouteParts
}

async function* encodeItems(
  batch: Parameters<typeof answerBatch>[0],
  selections: readonly Selection[],
  { request, mode, format, parts }: BatchContext,
): AsyncGenerator<Buffer> {
  const { lifetime, hold } = request
  const answered = new BatchSelections(request, mode, parts)
  const { team } = callerOf(request)
  const freeing = new Map<number, () => void>()
  const book = (index: number, body: Buffer, isForced: boolean) => {
    const free = parts.memory.holdBuffer(team, body, { isForced })
    freeing.set(index, free)
    lifetime.onEnd(free)
  }
  const template = { ...batch, isBatch: true, prefer: { respondAsync: false } }
  const items = answerBatch<ShapedAnswer>(template, selections, {
    parallel: parts.batchParallel,
    isOver: () => lifetime.hasEnded,
    ask: (one, form, selection) => {
      const isCacheOnly = one.cache.onlyIfCached && !batch.cache.onlyIfCached
      const answer = answered.answer(selection, one, { form, isCacheOnly, book })
      hold.until(answer)
      return answer
    },
  })
  for await (const item of items) {
    const { selection } = item
    if (selection.refusal) answered.refuse(selection, selection.refusal)
    yield* format.item(item, selectionId(request.id, selection))
    freeing.get(selection.index)?.()
  }
  yield format.end()
}
