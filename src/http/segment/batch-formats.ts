import { randomBytes } from 'node:crypto'
import { defined } from '../../contracts/defined.js'
import { toProblem } from '../../contracts/errors.js'
import { formatCredits, toCredits } from '../../contracts/nanocredits.js'
import type { BatchItem } from '../../segment/batch.js'
import { chargeOf } from '../../segment/failures.js'
import { toGatewayError } from '../server/error-handler.js'
import type { ShapedAnswer } from './answer-request.js'
import { base64Slices } from './base64-body.js'
import { frameHeaders } from './result-response.js'

type Item = BatchItem<ShapedAnswer>

/** Encoding of the items of a batch. */
export interface BatchFormat {
  contentType: string
  /** Encodes an item in pieces. Pictures are not copied as a whole. */
  item(item: Item, requestId: string): Iterable<Buffer> | AsyncIterable<Buffer>
  end(): Buffer
}

/** Chooses NDJSON where `Accept` names it, else `multipart/mixed`. */
export function batchFormatOf(accept = ''): BatchFormat {
  const isNdjson = /\b(application\/(x-)?ndjson|application\/jsonl)\b/i.test(accept)
  return isNdjson ? NDJSON : multipartMixed(`batch-${randomBytes(18).toString('hex')}`)
}

const NDJSON: BatchFormat = {
  contentType: 'application/x-ndjson; charset=utf-8',
  async *item(item, requestId) {
    const json = JSON.stringify(toJson(item, requestId))
    const { contentType = '', body } = item.answer?.shaped.result ?? {}
    if (body === undefined) return yield Buffer.from(`${json}\n`)
    const isPicture = contentType.startsWith('image/')
    const { output = '' } = item.selection.parsed ?? {}
    yield Buffer.from(`${json.slice(0, -1)},"${isPicture ? 'image' : output}":`)
    if (isPicture) {
      yield Buffer.from('"')
      yield* base64Slices(body)
      yield Buffer.from('"')
    } else yield contentType.startsWith('text/') ? Buffer.from(JSON.stringify(body.toString())) : body
    yield Buffer.from('}\n')
  },
  end: () => Buffer.alloc(0),
}

/** Builds the line of an item, without its result. */
function toJson({ selection, answer, error }: Item, requestId: string): object {
  const { index, id } = selection
  const named = { index, ...defined({ id }), requestId }
  if (!answer) {
    const problem = toProblem(toGatewayError(error), requestId)
    return { ...named, status: problem.status, costCredits: toCredits(chargeOf(error)), problem }
  }
  const { key, result, mask, frame } = answer.shaped
  return {
    ...named,
    status: 200,
    cache: answer.how,
    costCredits: toCredits(answer.charged),
    resultId: key,
    contentType: result.contentType,
    ...frame,
    ...defined({ mask }),
  }
}

/** RFC 2046 §5.1.3. Each part is a response with its own status and headers. */
function multipartMixed(boundary: string): BatchFormat {
  return {
    contentType: `multipart/mixed; boundary=${boundary}`,
    item(item, requestId) {
      const { headers, body } = toPart(item, requestId)
      const head = Object.entries(headers).map(([name, value]) => `${name}: ${value}\r\n`)
      return [Buffer.from(`--${boundary}\r\n${head.join('')}\r\n`), body, Buffer.from('\r\n')]
    },
    end: () => Buffer.from(`--${boundary}--\r\n`),
  }
}

interface Part {
  headers: Record<string, string>
  body: Buffer
}

function toPart({ selection, answer, error }: Item, requestId: string): Part {
  const { index, id } = selection
  const named = {
    'X-Index': String(index),
    ...(id !== undefined && { 'X-Selection-Id': encodeURIComponent(id) }),
    'X-Request-Id': requestId,
  }
  if (!answer) {
    const problem = toProblem(toGatewayError(error), requestId)
    const body = Buffer.from(JSON.stringify(problem))
    const headers = {
      'Content-Type': 'application/problem+json',
      'Content-Length': String(body.length),
      ...named,
      'X-Status': String(problem.status),
      'X-Cost': formatCredits(chargeOf(error)),
    }
    return { headers, body }
  }
  const { key, result, mask, frame } = answer.shaped
  const headers = {
    'Content-Type': result.contentType,
    'Content-Length': String(result.body.length),
    ...named,
    'X-Status': '200',
    'X-Cache': answer.how.toUpperCase(),
    'X-Cost': formatCredits(answer.charged),
    'X-Result-Id': key,
    ...frameHeaders(frame),
    ...(mask && { 'X-Mask-Bbox': mask.bbox.join(','), 'X-Mask-Area': String(mask.area) }),
  }
  return { headers, body: result.body }
}
