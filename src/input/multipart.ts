import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../contracts/errors.js'
import { deliverInSlices } from '../contracts/event-loop.js'
import { ByteCollector, type CollectedBytes } from '../images/byte-collector.js'
import { asImage, imageTooLarge, imageTypeOf } from '../images/image-type.js'
import { describeValue } from './describe.js'
import {
  admitField,
  completeForm,
  emptyDraft,
  type FieldName,
  type FormDraft,
  isRefused,
  type ReceivedForm,
  setImage,
  type UploadLimits,
} from './form.js'
import { type ImageSource, imageFromBytes, invalidImage, missingImage } from './image-source.js'

/** The parts of a Fastify request that are read here. */
export interface MultipartRequest {
  headers: { 'content-type'?: string | undefined }
  /** The body's bytes, which the parser reads as well. */
  raw: ByteSource
  /** Starts the parser at the first iteration: `request.parts()` of @fastify/multipart. */
  parts(options: MultipartOptions): AsyncIterable<UploadPart>
}

/** The parts of a `Readable` that are used here. */
interface ByteSource {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  off(event: 'data', listener: (chunk: Buffer) => void): unknown
  pause(): unknown
  resume(): unknown
}

type MultipartOptions = ReturnType<typeof multipartOptions>

/** A part as `request.parts()` of @fastify/multipart yields it, as far as it is read here. */
export type UploadPart = TextPart | FilePart

interface TextPart {
  type: 'field'
  fieldname: string
  value: unknown
  valueTruncated: boolean
  /** `Content-Transfer-Encoding`; `7bit` if the sender declared none. */
  encoding: string
}

interface FilePart {
  type: 'file'
  fieldname: string
  /** Absent if the sender gave none, contrary to the plugin's types. */
  filename?: string
  /** `text/plain` if the sender declared none. */
  mimetype: string
  encoding: string
  file: AsyncIterable<Buffer>
}

const MAX_PARTS = 32
/** A refused body is drained up to this multiple of the largest accepted one. */
const ABORT_FACTOR = 2

/**
 * Builds the parser's options. The image is a stream in each of its forms, text included. Of the
 * limits, the parser itself may hit only the one on parts: only there does it still drain the body
 * (`fields` would leave a later file unread). The parser calls `isPartAFile` once for each part
 * with a usable `Content-Disposition`, even if the plugin then refuses the body because of its
 * name.
 */
function multipartOptions(draft: FormDraft, counter: PartCounter) {
  return {
    throwFileSizeLimit: false,
    // The parser stops for good once a part that it drops has filled this buffer (busboy 3.2.6). Such
    // a part is discarded as it arrives, and files are read as they arrive, so the buffer stays small.
    fileHwm: Number.MAX_SAFE_INTEGER,
    isPartAFile: (name: string | undefined, _contentType: string | undefined, fileName: string | undefined) => {
      counter.parsed++
      // A name that every object has, such as `toString`. The plugin yields no such part, and throws
      // at the end.
      if (name !== undefined && name in Object.prototype) draft.unknown.add(name)
      return name === 'image' || fileName !== undefined
    },
    limits: {
      fieldNameSize: 256,
      fieldSize: draft.form.fieldBytes,
      fileSize: ABORT_FACTOR * draft.maxBytes + 1,
      fields: MAX_PARTS,
      files: MAX_PARTS,
      parts: MAX_PARTS,
      headerPairs: 16,
    },
  }
}

/**
 * Reads a multipart body to its end, with fields in any order, and hashes the image in the same
 * pass. Drains a refused body before it throws, so that the caller can read the error. Throws
 * `invalid_request` (malformed, cut off, unknown or repeated fields), `missing_image`,
 * `invalid_parameter`, `unsupported_image`, `image_too_large`, `image_url_refused`, and the errors
 * of `onBytes`.
 */
export async function receiveMultipart(request: MultipartRequest, limits: UploadLimits): Promise<ReceivedForm> {
  const draft = emptyDraft(limits)
  const counter = createPartCounter(request.headers['content-type'])
  const { raw } = request
  let stopWatching = () => {}
  const tooLarge = new Promise<never>((_, reject) => {
    let bytes = 0
    const watch = (chunk: Buffer) => {
      counter.add(chunk)
      bytes += chunk.length
      // Counted here, because the parser also drops parts, a preamble and an epilogue.
      if (bytes > ABORT_FACTOR * draft.maxBytes) reject(imageTooLarge(draft.maxImageBytes))
    }
    raw.on('data', watch)
    stopWatching = () => raw.off('data', watch)
  })
  const endSlices = deliverInSlices(raw)
  try {
    await Promise.race([readParts(request, draft, counter), tooLarge])
  } catch (error) {
    if (!isNameRefusal(error) || draft.unknown.size === 0) throw toInvalidRequest(error)
  } finally {
    stopWatching()
    endSlices()
  }
  if (counter.parts > counter.parsed) draft.failure = droppedPart()
  return completeForm(draft)
}

async function readParts(request: MultipartRequest, draft: FormDraft, counter: PartCounter): Promise<void> {
  for await (const part of request.parts(multipartOptions(draft, counter))) {
    if (part.type === 'file') await takeFile(part, draft)
    else takeText(part, draft)
  }
}

function isNameRefusal(error: unknown): boolean {
  return error instanceof Error && 'code' in error && error.code === 'FST_PROTO_VIOLATION'
}

function droppedPart(): GatewayError {
  return new GatewayError(
    'invalid_request',
    'The multipart body has a part without a readable "Content-Disposition: form-data" among its first headers.',
  )
}

function countBytes(draft: FormDraft, bytes: number): void {
  draft.receivedBytes += bytes
  if (!isRefused(draft)) draft.onBytes?.(bytes)
}

/** Transfer encodings that leave the bytes as they are. Others are deprecated (RFC 7578 §4.7). */
const PLAIN: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary'])

function encodedPart(name: string, encoding: string): GatewayError {
  const detail = `${name} has the Content-Transfer-Encoding ${describeValue(encoding)}. Send the value as it is.`
  return new GatewayError('invalid_parameter', detail)
}

function takeText(part: TextPart, draft: FormDraft): void {
  const { fieldname, value } = part
  if (typeof value === 'string') countBytes(draft, Buffer.byteLength(value))
  if (!admitField(draft, fieldname)) return
  if (part.valueTruncated) {
    const detail = `${fieldname} is longer than the limit of ${draft.form.fieldBytes} bytes.`
    draft.failure ??= new GatewayError('invalid_parameter', detail)
  } else if (!PLAIN.has(part.encoding.toLowerCase())) {
    draft.failure ??= encodedPart(fieldname, part.encoding)
  } else if (fieldname === 'image') {
    draft.failure ??= invalidImage('a value that is not text')
  } else {
    draft.fields[fieldname] = value
  }
}

async function takeFile(part: FilePart, draft: FormDraft): Promise<void> {
  const name = part.fieldname
  const isAdmitted = admitField(draft, name)
  if (isAdmitted && name !== 'image') draft.failure ??= fileForText(name)
  if (!PLAIN.has(part.encoding.toLowerCase())) draft.failure ??= encodedPart(name, part.encoding)
  const maxBytes = isText(part) ? draft.maxBytes : draft.maxImageBytes
  const bytes = await collect(part.file, draft, isRefused(draft) ? 0 : maxBytes)
  if (isRefused(draft)) return
  setImage(draft, () => imageOf(part, bytes, draft.maxImageBytes))
}

/**
 * Reads a file to its end. Returns undefined for one of more than `maxBytes`, which it does not
 * keep.
 */
async function collect(
  file: AsyncIterable<Buffer>,
  draft: FormDraft,
  maxBytes: number,
): Promise<CollectedBytes | undefined> {
  let collector: ByteCollector | undefined = new ByteCollector()
  for await (const chunk of file) {
    countBytes(draft, chunk.length)
    collector?.add(chunk)
    if (collector && collector.byteLength > maxBytes) collector = undefined
  }
  return collector?.finish()
}

function imageOf(part: FilePart, bytes: CollectedBytes | undefined, maxImageBytes: number): ImageSource {
  if (bytes === undefined) throw imageTooLarge(maxImageBytes)
  if (bytes.byteLength === 0) throw missingImage()
  if (isText(part) && imageTypeOf(bytes.chunks) === undefined) {
    const all = Buffer.concat(bytes.chunks)
    if (isUtf8(all)) return imageFromBytes(all, maxImageBytes)
  }
  if (bytes.byteLength > maxImageBytes) throw imageTooLarge(maxImageBytes)
  return { kind: 'bytes', image: asImage(bytes, 'The file in image') }
}

/**
 * Returns whether a part may hold a text form of the image: no file name, and no declared type but
 * text.
 */
function isText(part: FilePart): boolean {
  return part.filename === undefined && part.mimetype.startsWith('text/')
}

function fileForText(name: FieldName): GatewayError {
  return new GatewayError('invalid_parameter', `${name} takes text; it was a file.`)
}

const DETAILS: ReadonlyMap<unknown, string> = new Map([
  ['FST_PARTS_LIMIT', `The multipart body has more than ${MAX_PARTS} parts.`],
  ['FST_INVALID_JSON_FIELD_ERROR', 'A field that is declared as JSON is not valid JSON.'],
])

/**
 * Translates an error of the iteration, always about the body. Keeps the parser's own error for the
 * log.
 */
function toInvalidRequest(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const detail = DETAILS.get(code) ?? 'The multipart body is malformed or was cut off before its end.'
  return new GatewayError('invalid_request', detail, { cause: error })
}

/** Counts the parts of a multipart body from its bytes as they arrive. */
export interface PartCounter {
  add(chunk: Buffer): void
  /** Number of parts begun so far. */
  readonly parts: number
  /** Number of parts that the parser has reported. */
  parsed: number
}

const CLOSING = '--'

/**
 * Counts the delimiters of a multipart body (RFC 2046 §5.1.1) up to the closing one. The parser
 * silently drops parts whose headers it cannot use; this count reveals them. Counts nothing if the
 * content type has no boundary.
 */
export function createPartCounter(contentType: string | undefined): PartCounter {
  const [, quoted, plain] = /;\s*boundary=(?:"([^"]+)"|([^\s;"]+))/i.exec(contentType ?? '') ?? []
  const boundary = quoted ?? plain
  const delimiter = Buffer.from(`\r\n--${boundary}`, 'latin1')
  const length = delimiter.length + CLOSING.length
  let isClosed = boundary === undefined
  /** The latest bytes that may be the start of a delimiter. The first one needs no line break before it. */
  let rest: Buffer = Buffer.from('\r\n')

  /** Counts the complete delimiters that begin before `end`. */
  const count = (bytes: Buffer, end: number): void => {
    let found = bytes.indexOf(delimiter)
    while (!isClosed && found >= 0 && found < end && found + length <= bytes.length) {
      isClosed = bytes.toString('latin1', found + delimiter.length, found + length) === CLOSING
      if (!isClosed) counter.parts++
      found = bytes.indexOf(delimiter, found + delimiter.length)
    }
  }
  const counter = {
    parts: 0,
    parsed: 0,
    add(chunk: Buffer) {
      if (isClosed) return
      // The seam is copied, the chunk is not.
      count(Buffer.concat([rest, chunk.subarray(0, length - 1)]), rest.length)
      count(chunk, chunk.length)
      rest = chunk.length < length ? Buffer.concat([rest, chunk]).subarray(1 - length) : chunk.subarray(1 - length)
    },
  }
  return counter
}
