import { IncomingMessage } from 'node:http'
import type { Readable } from 'node:stream'
import { GatewayError } from '../contracts/errors.js'
import { deliverInSlices } from '../contracts/event-loop.js'
import { ByteCollector, type CollectedBytes } from '../images/byte-collector.js'
import { imageTooLarge } from '../images/image-type.js'
import { completeForm, emptyDraft, type FormDraft, type ReceivedForm, type UploadLimits } from './form.js'
import { admitFile, countBytes, type FileHead, type TextPart, takeFile, takeText } from './form-parts.js'
import { MultipartScanner, usualBoundary } from './multipart-scanner.js'
import { replay } from './replay.js'

/** The parts of a Fastify request that are read here. */
export interface MultipartRequest {
  headers: { 'content-type'?: string | undefined }
  /** The body. The parser reads it as well. */
  raw: Readable
  /** Starts the parser at the first iteration: `request.parts()` of @fastify/multipart. */
  parts(options: MultipartOptions): AsyncIterable<UploadPart>
}

type MultipartOptions = ReturnType<typeof multipartOptions>

/** A part as `request.parts()` of @fastify/multipart yields it, as far as it is read here. */
export type UploadPart = FieldPart | FilePart

interface FieldPart extends TextPart {
  type: 'field'
}

interface FilePart extends FileHead {
  type: 'file'
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
 * pass. The scanner reads what usual clients send, @fastify/multipart everything else. Drains a
 * refused body before it throws, so that the caller can read the error. Throws `invalid_request`
 * (malformed, cut off, unknown or repeated fields), `missing_image`, `invalid_parameter`,
 * `unsupported_image`, `image_too_large`, `image_url_refused`, and the errors of `onBytes`.
 */
export async function receiveMultipart(request: MultipartRequest, limits: UploadLimits): Promise<ReceivedForm> {
  const boundary = usualBoundary(request.headers['content-type'])
  if (boundary === undefined) return receiveParsed(request, limits)
  const draft = emptyDraft(limits)
  // The server of Node.js copies each chunk out of the socket's buffer, for this request alone.
  const scanner = new MultipartScanner(boundary, draft, { ownsChunks: request.raw instanceof IncomingMessage })
  return scan(request.raw, scanner, {
    complete: () => completeForm(scanner.finish()),
    parse: body => {
      const raw = Object.assign(body, { headers: request.headers })
      const replayed: MultipartRequest = Object.create(request, { raw: { value: raw } })
      return receiveParsed(replayed, { ...limits, onBytes: onBytesAfter(draft.receivedBytes, limits.onBytes) })
    },
  })
}

interface ScanEnds {
  complete(): ReceivedForm
  /** Reads an unusual body again, from its beginning. */
  parse(body: Readable): Promise<ReceivedForm>
}

/** Reads a body with the scanner, as long as it is usual. */
function scan(raw: Readable, scanner: MultipartScanner, { complete, parse }: ScanEnds): Promise<ReceivedForm> {
  return new Promise((resolve, reject) => {
    const stop = () => {
      raw.off('data', read).off('end', end).off('close', cutOff)
      endSlices()
    }
    /** An error must not escape from a listener. */
    const attempt = (step: () => void) => {
      try {
        step()
      } catch (error) {
        stop()
        raw.pause()
        reject(error)
      }
    }
    const leave = () => {
      stop()
      // At once, so that the parser misses no event of the body.
      resolve(parse(replay(raw, scanner.replay())))
    }
    const read = (chunk: Buffer) =>
      attempt(() => {
        scanner.push(chunk)
        if (scanner.isUnusual) leave()
      })
    const end = () =>
      attempt(() => {
        if (!scanner.isClosed) return leave()
        stop()
        resolve(complete())
      })
    const cutOff = () => {
      stop()
      reject(toInvalidRequest(raw.errored))
    }
    raw.on('data', read).on('end', end).on('close', cutOff)
    const endSlices = deliverInSlices(raw)
  })
}

/** Leaves out the first bytes, which are booked already. */
function onBytesAfter(booked: number, onBytes: UploadLimits['onBytes']): UploadLimits['onBytes'] {
  let left = booked
  return count => {
    const again = Math.min(left, count)
    left -= again
    if (count > again) onBytes?.(count - again)
  }
}

/** Reads a multipart body with @fastify/multipart, the reference for what a body means. */
export async function receiveParsed(request: MultipartRequest, limits: UploadLimits): Promise<ReceivedForm> {
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
    if (part.type === 'file') await readFile(part, draft)
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

async function readFile(part: FilePart, draft: FormDraft): Promise<void> {
  const maxBytes = admitFile(part, draft)
  takeFile(part, await collect(part.file, draft, maxBytes), draft)
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

/** Details by the code of the parser's error, or by its message where it has no code. */
const DETAILS: ReadonlyMap<unknown, string> = new Map([
  [
    'Multipart: Boundary not found',
    'The Content-Type multipart/form-data has no boundary. Leave this header to the HTTP client, which adds one.',
  ],
  ['FST_PARTS_LIMIT', `The multipart body has more than ${MAX_PARTS} parts.`],
  ['FST_INVALID_JSON_FIELD_ERROR', 'A field that is declared as JSON is not valid JSON.'],
])

/**
 * Translates an error of the iteration, always about the body. Keeps the parser's own error for the
 * log.
 */
function toInvalidRequest(error: unknown): GatewayError {
  if (error instanceof GatewayError) return error
  // A body that is cut off has no error.
  const { code, message }: { code?: unknown; message?: unknown } = error instanceof Error ? error : {}
  const detail = DETAILS.get(code ?? message) ?? 'The multipart body is malformed or was cut off before its end.'
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
  /**
   * The latest bytes that may be the start of a delimiter. The first one needs no line break before
   * it.
   */
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
