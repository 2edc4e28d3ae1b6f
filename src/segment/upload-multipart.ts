import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../errors.js'
import { type CollectedBytes, createByteCollector } from './byte-collector.js'
import { type ImageSource, imageFromText, imageTooLarge, invalidImage, missingImage } from './image-source.js'
import { asImage, imageTypeOf } from './image-type.js'
import { createPartCount } from './part-count.js'
import {
  admitField,
  completeForm,
  emptyDraft,
  type FieldName,
  type FormDraft,
  isRefused,
  maxUploadBytes,
  type ReceivedForm,
  SEGMENT_FORM,
  takeImage,
  type UploadLimits,
} from './upload.js'

/** A request with a multipart body, as Fastify has it, as far as it is read here. */
export interface MultipartRequest {
  contentType: string | undefined
  /** The body's bytes, which the parser reads too. */
  raw: ByteSource
  /** Begins the parsing once the parts are asked for: `request.parts()` of @fastify/multipart. */
  parts(options: MultipartOptions): AsyncIterable<UploadPart>
}

/** What a `Readable` is here. */
export interface ByteSource {
  on(event: 'data', listener: (chunk: Buffer) => void): unknown
  off(event: 'data', listener: (chunk: Buffer) => void): unknown
}

export type MultipartOptions = ReturnType<typeof multipartOptions>

/** A part of a multipart body as @fastify/multipart's `request.parts()` hands it out, as far as it is read here. */
export type UploadPart = TextPart | FilePart

export interface TextPart {
  type: 'field'
  fieldname: string
  value: unknown
  valueTruncated: boolean
}

export interface FilePart {
  type: 'file'
  fieldname: string
  /** Absent where the sender gave none, whatever the plugin's types say. */
  filename?: string
  /** `text/plain` where the sender declared nothing. */
  mimetype: string
  file: AsyncIterable<Buffer>
}

const MAX_PARTS = 32

/**
 * The image is a stream in every form it may take, text too; of the limits only the one on parts may be hit by the parser itself,
 * since it alone goes on emptying the body (`fields` leaves a later file unread). `isPartAFile` is asked once for every part that has a usable
 * `Content-Disposition`, also where its name makes the plugin refuse the body without telling it.
 */
function multipartOptions(limits: UploadLimits, onPart: (name: string | undefined) => void) {
  return {
    throwFileSizeLimit: false,
    isPartAFile: (name: string | undefined, _contentType: string | undefined, fileName: string | undefined) => {
      onPart(name)
      return name === 'image' || fileName !== undefined
    },
    limits: {
      fieldNameSize: 256,
      fieldSize: fieldBytesOf(limits),
      fileSize: giveUpBytes(limits) + 1,
      fields: MAX_PARTS,
      files: MAX_PARTS,
      parts: MAX_PARTS,
      headerPairs: 16,
    },
  }
}

/**
 * Reads a multipart body to its end, in any order of fields, hashing the image in the same pass; a refused body is emptied before
 * the refusal, so that the caller can read it. Throws `invalid_request` (malformed, cut off, unknown or repeated fields),
 * `missing_image`, `invalid_parameter`, `unsupported_image`, `image_too_large`, `image_url_refused`.
 */
export async function receiveMultipart(request: MultipartRequest, limits: UploadLimits): Promise<ReceivedForm> {
  const draft = emptyDraft(limits)
  const meter = createMeter(limits)
  const announced = createPartCount(request.contentType)
  let seenParts = 0
  const onPart = (name: string | undefined): void => {
    seenParts++
    if (isRefusedByPlugin(name)) draft.unknown.add(name)
  }
  request.raw.on('data', announced.add)
  try {
    for await (const part of request.parts(multipartOptions(limits, onPart))) {
      if (part.type === 'file') await takeFile(part, draft, meter)
      else takeText(part, draft, meter)
    }
  } catch (error) {
    if (!isNameRefusal(error) || draft.unknown.size === 0) throw asInvalidRequest(error)
  } finally {
    request.raw.off('data', announced.add)
  }
  if (announced.parts() > seenParts) draft.failure = droppedPart()
  return completeForm(draft, meter.seenBytes())
}

/** Names that every object has, such as `toString`: the plugin throws at the end of the body instead of handing out their parts. */
function isRefusedByPlugin(name: string | undefined): boolean {
  return name !== undefined && name in Object.prototype
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

interface Meter extends UploadLimits {
  /** Throws `image_too_large` when so much has arrived that waiting for the end makes no sense; the rest stays unread. */
  count(bytes: number): void
  seenBytes(): number
}

function createMeter(limits: UploadLimits): Meter {
  let seen = 0
  return {
    ...limits,
    count: bytes => {
      seen += bytes
      if (seen > giveUpBytes(limits)) throw imageTooLarge(limits.maxImageBytes)
    },
    seenBytes: () => seen,
  }
}

function giveUpBytes(limits: UploadLimits): number {
  return 2 * maxUploadBytes(limits)
}

function fieldBytesOf({ form = SEGMENT_FORM }: UploadLimits): number {
  return form.fieldBytes
}

function takeText(part: TextPart, draft: FormDraft, meter: Meter): void {
  const { fieldname, value } = part
  if (typeof value === 'string') meter.count(Buffer.byteLength(value))
  if (!admitField(draft, fieldname)) return
  if (part.valueTruncated) {
    draft.failure ??= new GatewayError('invalid_parameter', `${fieldname} is longer than ${fieldBytesOf(meter)} bytes.`)
  } else if (fieldname === 'image') {
    draft.failure ??= invalidImage('a value that is no text')
  } else {
    draft.fields[fieldname] = value
  }
}

async function takeFile(part: FilePart, draft: FormDraft, meter: Meter): Promise<void> {
  const name = part.fieldname
  const admitted = admitField(draft, name)
  if (admitted && name !== 'image') draft.failure ??= fileForText(name)
  const maxBytes = isText(part) ? maxUploadBytes(meter) : meter.maxImageBytes
  const bytes = await collect(part.file, meter, isRefused(draft) ? 0 : maxBytes)
  if (isRefused(draft)) return
  takeImage(draft, () => imageOf(part, bytes, meter.maxImageBytes))
}

/** Answers `undefined` where there are more bytes than asked for; reads to the end all the same. */
async function collect(
  file: AsyncIterable<Buffer>,
  meter: Meter,
  maxBytes: number,
): Promise<CollectedBytes | undefined> {
  let collector: ReturnType<typeof createByteCollector> | undefined = createByteCollector()
  for await (const chunk of file) {
    meter.count(chunk.length)
    collector?.add(chunk)
    if (collector && collector.byteLength() > maxBytes) collector = undefined
  }
  return collector?.finish()
}

function imageOf(part: FilePart, bytes: CollectedBytes | undefined, maxImageBytes: number): ImageSource {
  if (bytes === undefined) throw imageTooLarge(maxImageBytes)
  if (bytes.byteLength === 0) throw missingImage()
  if (imageTypeOf(bytes.chunks) === undefined && isText(part)) {
    const all = Buffer.concat(bytes.chunks)
    if (isUtf8(all)) return imageFromText(all.toString('utf8'), maxImageBytes)
  }
  if (bytes.byteLength > maxImageBytes) throw imageTooLarge(maxImageBytes)
  return { kind: 'bytes', image: asImage(bytes, 'The file in image') }
}

/** A part that may hold one of the text forms: without a file name, and not declared to be anything but text. */
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

/** Everything that goes wrong while a body is iterated is about the body; the parser's own error is kept for the log. */
function asInvalidRequest(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  const code = error instanceof Error && 'code' in error ? error.code : undefined
  const detail = DETAILS.get(code) ?? 'The multipart body is malformed or was cut off before its end.'
  return new GatewayError('invalid_request', detail, { cause: error })
}
