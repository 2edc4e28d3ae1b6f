import { createHash } from 'node:crypto'
import { Readable } from 'node:stream'
import { setImmediate as nextIteration } from 'node:timers/promises'
import { isDeepStrictEqual } from 'node:util'
import multipart from '@fastify/multipart'
import Fastify, { type FastifyRequest } from 'fastify'
import { GatewayError } from '../../../src/contracts/errors.js'
import type { ReceivedForm, UploadLimits } from '../../../src/input/form.js'
import { type MultipartRequest, receiveMultipart, receiveParsed } from '../../../src/input/multipart.js'
import { type Random, randomFrom } from '../../support/random.js'
import { type Upload, uploadOf } from './bodies.js'

/** A case in which the scanner and the parser differ. */
export interface Difference {
  seed: number
  upload: Upload
  scanned: unknown
  parsed: unknown
}

export interface Comparison {
  differences: Difference[]
  /** Uploads by their reader. */
  readers: Record<'scanner' | 'parser', number>
  /** Uploads that were accepted. */
  accepted: number
}

/**
 * Reads each upload in both ways: with the scanner in front of the parser, and with the parser
 * alone.
 */
export async function compare({ from, cases }: { from: number; cases: number }): Promise<Comparison> {
  const prototype = await multipartRequest()
  const comparison: Comparison = { differences: [], readers: { scanner: 0, parser: 0 }, accepted: 0 }
  for (let seed = from; seed < from + cases; seed++) {
    const random = randomFrom(seed).fork('scanner')
    const upload = uploadOf(random)
    const scanned = await outcomeOf(receiveMultipart, { prototype, upload, random })
    const parsed = await outcomeOf(receiveParsed, { prototype, upload, random })
    comparison.readers[scanned.isParsed ? 'parser' : 'scanner']++
    if (parsed.form !== undefined) comparison.accepted++
    if (!agree(scanned, parsed, upload)) comparison.differences.push({ seed, upload, scanned, parsed })
  }
  return comparison
}

/**
 * Two refusals may differ where the memory is full or the client leaves: the parser works behind
 * the arrival of the bytes, so what it finds first depends on timing. What the parser reads to its
 * end, the scanner reads to its end as well.
 */
function agree(scanned: Outcome, parsed: Outcome, { isAborted }: Upload): boolean {
  const isEarly = isAborted || [scanned, parsed].some(({ code }) => code === 'overloaded')
  if (isEarly) return [scanned, parsed].every(({ code }) => code !== undefined)
  if (parsed.isDrained && !scanned.isDrained) return false
  return isDeepStrictEqual({ ...scanned, ...OF_READER }, { ...parsed, ...OF_READER })
}

/** Facts that depend on the reader. */
const OF_READER = { isParsed: undefined, isDrained: undefined }

/** Receives one request through the plugin, to which `request.parts` belongs. */
async function multipartRequest(): Promise<FastifyRequest> {
  const app = Fastify()
  await app.register(multipart)
  let received: FastifyRequest | undefined
  app.post('/', async request => {
    received = request
    return ''
  })
  const headers = { 'content-type': 'multipart/form-data; boundary=x' }
  await app.inject({ method: 'POST', url: '/', payload: '--x--', headers })
  await app.close()
  if (!received) throw new Error('the request was not received')
  return received
}

interface Outcome {
  isParsed: boolean
  form?: unknown
  bookedBytes?: number
  /** Digest of the bytes that a listener of the request got. */
  seen?: string
  code?: string
  message?: string
  /** True for a refused body that was read to its end. */
  isDrained?: boolean
  error?: unknown
}

/** Iterations of the event loop in which the rest of a refused body arrives. */
const DRAIN_TURNS = 100

interface Reception {
  prototype: FastifyRequest
  upload: Upload
  random: Random
}

async function outcomeOf(
  receive: (request: MultipartRequest, limits: UploadLimits) => Promise<ReceivedForm>,
  { prototype, upload, random }: Reception,
): Promise<Outcome> {
  const { contentType, form, maxImageBytes, memoryBytes } = upload
  const raw = Object.assign(streamOf(upload, random.fork('delivery')), { headers: { 'content-type': contentType } })
  const seen = createHash('sha256')
  raw.on('data', chunk => seen.update(chunk))
  let isParsed = false
  const request = Object.create(prototype, { raw: { value: raw } })
  const { parts } = request
  Object.defineProperty(request, 'parts', {
    value(options: unknown) {
      isParsed = true
      return parts.call(this, options)
    },
  })
  let bookedBytes = 0
  const onBytes = (count: number) => {
    if (bookedBytes + count > memoryBytes) throw new GatewayError('overloaded', 'memory')
    bookedBytes += count
  }
  try {
    const received = await receive(request, { maxImageBytes, form, onBytes })
    return { isParsed, form: contentOf(received), bookedBytes, seen: seen.digest('hex') }
  } catch (error) {
    if (!(error instanceof GatewayError)) return { isParsed, error }
    for (let turn = 0; turn < DRAIN_TURNS && !raw.readableEnded; turn++) await nextIteration()
    return { isParsed, code: error.code, message: error.message, isDrained: raw.readableEnded }
  } finally {
    raw.destroy()
  }
}

function contentOf({ image, fields, uploadBytes }: ReceivedForm): unknown {
  if (image.kind !== 'bytes') return { image, fields, uploadBytes }
  const { chunks, ...facts } = image.image
  const bytes = Buffer.concat(chunks)
  const isHashed = createHash('sha256').update(bytes).digest('hex') === facts.digest
  return { facts, bytes, isHashed, fields, uploadBytes }
}

/** Delivers the chunks, each at once or in a later iteration of the event loop. */
function streamOf({ chunks, isAborted }: Upload, random: Random): Readable {
  let next = 0
  const isSlow = random.chance(0.3) && chunks.length < 50
  const deliver = (body: Readable) => {
    const chunk = chunks[next++]
    if (chunk !== undefined) body.push(Buffer.from(chunk))
    else if (isAborted) body.destroy()
    else body.push(null)
  }
  return new Readable({
    read() {
      if (isSlow && random.chance(0.5)) setImmediate(deliver, this)
      else deliver(this)
    },
  })
}
