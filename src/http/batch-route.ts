import { randomBytes } from 'node:crypto'
import { Readable } from 'node:stream'
import type { FastifyInstance, FastifyReply, FastifyRequest } from 'fastify'
import { toProblem } from '../errors.js'
import { formatCredits, toCredits } from '../nanocredits.js'
import { chargeOf } from '../segment/acceptance.js'
import { answerBatch, type BatchItem, parseSelections, type Selection, selectionId } from '../segment/batch.js'
import { BATCH_FORM } from '../segment/upload.js'
import { laneOf, requireImage, type ShapedAnswer } from './answer-question.js'
import { BatchSelections, type SelectionParts } from './batch-selections.js'
import { toGatewayError } from './error-handler.js'
import { callerOf } from './facts.js'
import type { Lane, LaneParts } from './lane.js'
import { receiveUpload } from './receive-form.js'
import { askedWith } from './receive-question.js'
import { addUploadRoute } from './upload-route.js'

export interface BatchRouteParts extends LaneParts, SelectionParts {
  /** Selections of one batch that are bought at the same time. */
  batchParallel: number
}

type Item = BatchItem<ShapedAnswer>

/** `POST /segment/batch`: one image, many selections, answered one by one as they are done: as `multipart/mixed`, or as NDJSON where `Accept` says so. */
export function addBatchRoute(app: FastifyInstance, parts: BatchRouteParts): void {
  addUploadRoute(app, parts, {
    url: '/segment/batch',
    form: BATCH_FORM,
    handle: (request, reply) => startBatch(request, reply, parts),
  })
}

async function startBatch(request: FastifyRequest, reply: FastifyReply, parts: BatchRouteParts): Promise<FastifyReply> {
  const lane = laneOf(request, parts)
  const { fields, image } = await receiveUpload(request, parts, BATCH_FORM)
  const selections = parseSelections(fields)
  const question = { ...askedWith(request), image }
  await requireImage(question, lane)
  const remaining = await lane.remaining(callerOf(request).team)
  const { form, contentType } = formOf(request)
  const stream = Readable.from(written(question, selections, { request, lane, form, parts }), {
    objectMode: false,
    // One item at a time: what is not taken yet is not made, either.
    highWaterMark: 1,
  })
  request.hold.until(new Promise<void>(resolve => stream.once('close', resolve)))
  return reply
    .headers({
      'cache-control': 'no-store',
      'x-image-id': `sha256:${image.digest}`,
      ...(remaining !== undefined && { 'x-remaining-credits': formatCredits(remaining) }),
    })
    .type(contentType)
    .send(stream)
}

interface Writing {
  request: FastifyRequest
  lane: Lane
  form: Form
  parts: BatchRouteParts
}

async function* written(
  question: Parameters<typeof answerBatch>[0],
  selections: readonly Selection[],
  { request, lane, form, parts }: Writing,
): AsyncGenerator<Buffer> {
  const { exchange } = request
  const holdUntil = (work: Promise<unknown>) => request.hold.until(work)
  const asked = new BatchSelections(request, lane, parts)
  const items = answerBatch<ShapedAnswer>({ ...question, prefer: { respondAsync: false }, holdUntil }, selections, {
    parallel: parts.batchParallel,
    isOver: () => exchange.isOver,
    ask: (one, { output }, selection) => {
      const isGlance = one.cache.onlyIfCached && !question.cache.onlyIfCached
      return asked.ask(selection, one, { output, isGlance })
    },
  })
  for await (const item of items) {
    const { selection } = item
    if (selection.refusal) asked.refused(selection, selection.refusal)
    yield form.item(item, selectionId(request.id, selection))
  }
  yield form.end()
}

/** How items are written one after the other. */
interface Form {
  item(item: Item, requestId: string): Buffer
  end(): Buffer
}

const NDJSON = 'application/x-ndjson'

function formOf({ headers }: FastifyRequest): { form: Form; contentType: string } {
  if (/\b(application\/(x-)?ndjson|application\/jsonl)\b/i.test(headers.accept ?? ''))
    return { form: ndjson(), contentType: `${NDJSON}; charset=utf-8` }
  const boundary = `batch-${randomBytes(18).toString('hex')}`
  return { form: multipartMixed(boundary), contentType: `multipart/mixed; boundary=${boundary}` }
}

function ndjson(): Form {
  return {
    item: (item, requestId) => Buffer.from(`${JSON.stringify(asJson(item, requestId))}\n`),
    end: () => Buffer.alloc(0),
  }
}

function asJson({ selection, answer, error }: Item, requestId: string): object {
  const { index, id } = selection
  const named = { index, ...(id !== undefined && { id }), requestId }
  if (!answer) {
    const problem = toProblem(toGatewayError(error), requestId)
    return { ...named, status: problem.status, costCredits: toCredits(chargeOf(error)), problem }
  }
  const { key, result, mask } = answer.shaped
  const isJson = !result.contentType.startsWith('image/')
  return {
    ...named,
    ...{ status: 200, cache: answer.how, costCredits: toCredits(answer.charged), resultId: key },
    contentType: result.contentType,
    ...(mask && { mask }),
    ...(isJson ? { rle: JSON.parse(result.body.toString()) } : { image: result.body.toString('base64') }),
  }
}

/** RFC 2046 §5.1.3: each part is an answer, with its status and its headers. */
function multipartMixed(boundary: string): Form {
  return {
    item(item, requestId) {
      const { headers, body } = asPart(item, requestId)
      const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      return Buffer.concat([Buffer.from(`--${boundary}\r\n${head.join('')}\r\n`), body, Buffer.from('\r\n')])
    },
    end: () => Buffer.from(`--${boundary}--\r\n`),
  }
}

function asPart(
  { selection, answer, error }: Item,
  requestId: string,
): { headers: Record<string, string>; body: Buffer } {
  const { index, id } = selection
  const named = {
    'X-Index': String(index),
    ...(id !== undefined && { 'X-Selection-Id': encodeURIComponent(id) }),
    'X-Request-Id': requestId,
  }
  if (!answer) {
    const problem = toProblem(toGatewayError(error), requestId)
    const body = Buffer.from(JSON.stringify(problem))
    const described = { 'X-Status': String(problem.status), 'X-Cost': formatCredits(chargeOf(error)) }
    return { headers: { 'Content-Type': 'application/problem+json', ...lengthOf(body), ...named, ...described }, body }
  }
  const { key, result, mask } = answer.shaped
  const headers = {
    ...{ 'Content-Type': result.contentType, ...lengthOf(result.body), ...named },
    ...{ 'X-Status': '200', 'X-Cache': answer.how.toUpperCase(), 'X-Cost': formatCredits(answer.charged) },
    'X-Result-Id': key,
    ...(mask && { 'X-Mask-Bbox': mask.bbox.join(','), 'X-Mask-Area': String(mask.area) }),
  }
  return { headers, body: result.body }
}

function lengthOf(body: Buffer): Record<string, string> {
  return { 'Content-Length': String(body.length) }
}
