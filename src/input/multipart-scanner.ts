import assert from 'node:assert/strict'
import { ByteCollector, makeReleasable } from '../images/byte-collector.js'
import { type FormDraft, isRefused } from './form.js'
import { admitFile, countBytes, type FileHead, takeFile, takeText } from './form-parts.js'

/**
 * - `head`: behind a delimiter, within the headers of a part. A body begins in this state.
 * - `text`, `image`: within the content of a part.
 * - `closed`: behind the closing delimiter.
 * - `unusual`: left to the parser.
 */
type State = 'head' | 'text' | 'image' | 'closed' | 'unusual'

const LINE_BREAK = '\r\n'
const CARRIAGE_RETURN = 0x0d
const HEAD_END = '\r\n\r\n'
const CLOSING = '--'
/** The heads of usual clients are shorter, file names included. */
const MAX_HEAD_BYTES = 2048

const USUAL_TYPE = /^multipart\/form-data; ?boundary=("?)([\w'()+,./:=?-]{1,70})\1$/i
const USUAL_HEADER = /^(content-disposition|content-type|content-length): ?(.+)$/i
const USUAL_DISPOSITION = /^form-data; name="(\w+)"(?:; filename="([^"\\\r\n]*)")?$/
const USUAL_MEDIA_TYPE = /^([\w.+-]+\/[\w.+-]+)(?:; ?charset=utf-8)?$/i

/** Returns the boundary of a content type as usual clients write it, else undefined. */
export function usualBoundary(contentType = ''): string | undefined {
  return USUAL_TYPE.exec(contentType)?.[2]
}

/**
 * Reads a multipart body into a draft as its chunks arrive, and hashes the image in the same pass.
 * Keeps large chunks as the image, without a copy. Reads only acceptable requests in the form in
 * which usual clients send them. Anything else makes the body unusual: then the draft is void, and
 * @fastify/multipart has to read what `replay` returns and the rest.
 */
export class MultipartScanner {
  readonly #draft: FormDraft
  /** True as long as no chunk shares its memory. */
  #ownsChunks: boolean
  /** The line break before a boundary belongs to the delimiter, not to the content. */
  readonly #delimiter: Buffer
  #state: State = 'head'
  /** The bytes that begin a head. The first head begins with the boundary. */
  #headStart: string
  #part: FileHead = { fieldname: '', mimetype: '', encoding: '' }
  #maxBytes = 0
  #collector: ByteCollector | undefined
  /** Bytes of the delimiter that were just read, and those of them that end the head as well. */
  #matched = 0
  #shared = 0

  #receivedBytes = 0
  /** The bytes around the image, in Latin-1: those already used, then the current head or text. */
  #used = ''
  #current = ''
  /** Number of used bytes before the image. */
  #imageAt: number | undefined
  #imageChunks: readonly Buffer[] = []
  #unread: Buffer = Buffer.alloc(0)

  /** `ownsChunks`: the caller does not use the chunks, so the image may release their memory. */
  constructor(boundary: string, draft: FormDraft, { ownsChunks = false } = {}) {
    this.#draft = draft
    this.#ownsChunks = ownsChunks
    this.#delimiter = Buffer.from(`${LINE_BREAK}--${boundary}`, 'latin1')
    this.#headStart = `--${boundary}${LINE_BREAK}`
  }

  get isUnusual(): boolean {
    return this.#state === 'unusual'
  }

  /** True behind the closing delimiter. If the body ends here, the draft is complete. */
  get isClosed(): boolean {
    return this.#state === 'closed'
  }

  /** Reads the next chunk, and may keep it. Throws the errors of `onBytes`. */
  push(chunk: Buffer): void {
    assert(!this.isUnusual, 'an unusual body is left to the parser')
    this.#receivedBytes += chunk.length
    this.#ownsChunks &&= chunk.length === chunk.buffer.byteLength
    if (this.#receivedBytes > this.#draft.maxBytes) this.#state = 'unusual'
    let at = 0
    while (at < chunk.length && !this.isUnusual) {
      const next = this.#read(chunk, at)
      assert(next <= chunk.length && (next > at || this.isUnusual), 'each step reads at least one byte')
      at = next
    }
    this.#unread = chunk.subarray(at)
  }

  /** Returns all bytes received, in their order. Ends the scan. */
  replay(): Buffer[] {
    this.#state = 'unusual'
    const text = this.#used + this.#current + this.#delimiter.toString('latin1', this.#shared, this.#matched)
    const imageAt = this.#imageAt ?? text.length
    const image = this.#collector?.finish().chunks ?? this.#imageChunks
    const before = Buffer.from(text.slice(0, imageAt), 'latin1')
    const all = [before, ...image, Buffer.from(text.slice(imageAt), 'latin1'), this.#unread]
    const byteLength = all.reduce((sum, bytes) => sum + bytes.length, 0)
    assert.equal(byteLength, this.#receivedBytes, 'the parser reads each byte once')
    return all
  }

  /** Returns the complete draft. */
  finish(): FormDraft {
    assert(this.isClosed, 'a draft is complete behind the closing delimiter')
    const { image } = this.#draft
    if (this.#ownsChunks && image?.kind === 'bytes' && image.image.chunks === this.#imageChunks)
      makeReleasable(image.image)
    return this.#draft
  }

  /** Reads from a position on. Returns the position behind. */
  #read(chunk: Buffer, at: number): number {
    if (this.#state === 'head') return this.#readHead(chunk, at)
    if (this.#state === 'closed') return this.#readEpilogue(chunk, at)
    return this.#readContent(chunk, at)
  }

  #readHead(chunk: Buffer, at: number): number {
    const known = this.#current.length
    const head = this.#current + chunk.toString('latin1', at, at + MAX_HEAD_BYTES - known)
    if (this.#headStart === LINE_BREAK && head.startsWith(CLOSING)) {
      this.#current = CLOSING
      this.#enter('closed')
      return at + CLOSING.length - known
    }
    const end = head.indexOf(HEAD_END)
    this.#current = end < 0 ? head : head.slice(0, end + HEAD_END.length)
    const next = at + this.#current.length - known
    if (end >= 0) this.#beginPart(head.slice(0, end))
    else if (head.length === MAX_HEAD_BYTES) this.#state = 'unusual'
    return next
  }

  #beginPart(head: string): void {
    const part = head.startsWith(this.#headStart) ? parseHead(head.slice(this.#headStart.length)) : undefined
    if (part === undefined || !isAcceptable(part, this.#draft)) {
      this.#state = 'unusual'
      return
    }
    this.#part = part
    this.#headStart = LINE_BREAK
    // The parser takes the line break that ends the head for the beginning of a delimiter, too.
    this.#matched = LINE_BREAK.length
    this.#shared = LINE_BREAK.length
    this.#enter(part.fieldname === 'image' ? 'image' : 'text')
    if (this.#state === 'text') return
    this.#imageAt = this.#used.length
    this.#maxBytes = admitFile(part, this.#draft)
    this.#collector = new ByteCollector()
  }

  #readContent(chunk: Buffer, at: number): number {
    const delimiter = this.#delimiter
    if (this.#matched > 0) {
      const bytes = chunk.subarray(at, at + delimiter.length - this.#matched)
      if (bytes.equals(delimiter.subarray(this.#matched, this.#matched + bytes.length))) {
        this.#matched += bytes.length
        if (this.#matched === delimiter.length) this.#endPart()
        return at + bytes.length
      }
      if (!this.#take(delimiter.subarray(this.#shared, this.#matched))) return at
      this.#matched = 0
      this.#shared = 0
    }
    const found = chunk.indexOf(delimiter, at)
    const end = found < 0 ? chunk.length - matchedAtEnd(chunk.subarray(at), delimiter) : found
    if (!this.#take(chunk.subarray(at, end))) return at
    this.#matched = found < 0 ? chunk.length - end : delimiter.length
    const next = end + this.#matched
    if (found >= 0) this.#endPart()
    return next
  }

  /** Takes bytes of a content. Makes the body unusual instead if the content gets too long. */
  #take(bytes: Buffer): boolean {
    if (this.#collector === undefined) {
      if (this.#current.length + bytes.length <= this.#draft.form.fieldBytes) {
        this.#current += bytes.toString('latin1')
        return true
      }
    } else if (this.#collector.byteLength + bytes.length <= this.#maxBytes) {
      countBytes(this.#draft, bytes.length)
      this.#collector.add(bytes)
      return true
    }
    this.#state = 'unusual'
    return false
  }

  /** Ends a part whose delimiter was read. */
  #endPart(): void {
    if (this.#shared > 0) {
      this.#state = 'unusual'
      return
    }
    if (this.#collector === undefined) {
      const value = Buffer.from(this.#current, 'latin1').toString()
      takeText({ ...this.#part, value, valueTruncated: false }, this.#draft)
    } else {
      const image = this.#collector.finish()
      this.#collector = undefined
      this.#imageChunks = image.chunks
      takeFile(this.#part, image, this.#draft)
    }
    this.#current += this.#delimiter.toString('latin1')
    this.#matched = 0
    this.#enter(isRefused(this.#draft) ? 'unusual' : 'head')
  }

  /** Accepts only a line break behind the closing delimiter. */
  #readEpilogue(chunk: Buffer, at: number): number {
    const bytes = chunk.toString('latin1', at, at + LINE_BREAK.length)
    this.#current += bytes
    if (!LINE_BREAK.startsWith(this.#current)) this.#state = 'unusual'
    return at + bytes.length
  }

  #enter(state: State): void {
    this.#used += this.#current
    this.#current = ''
    this.#state = state
  }
}

/** Returns the part that usual headers declare, else undefined. */
function parseHead(lines: string): FileHead | undefined {
  const values = new Map<string, string>()
  for (const line of lines.split(LINE_BREAK)) {
    const [, name = '', value = ''] = USUAL_HEADER.exec(line) ?? []
    if (name === '' || values.has(name.toLowerCase())) return undefined
    values.set(name.toLowerCase(), value)
  }
  const disposition = USUAL_DISPOSITION.exec(values.get('content-disposition') ?? '')
  const mediaType = USUAL_MEDIA_TYPE.exec(values.get('content-type') ?? 'text/plain')
  if (disposition === null || mediaType === null) return undefined
  const [, fieldname = '', filename] = disposition
  return { fieldname, filename, mimetype: mediaType[1]?.toLowerCase() ?? '', encoding: '7bit' }
}

/** Returns whether a part is the image, or a known field of text, that comes for the first time. */
function isAcceptable({ fieldname, filename, mimetype }: FileHead, { form, seen }: FormDraft): boolean {
  if (seen.has(fieldname)) return false
  if (fieldname === 'image') return true
  const isKnown = (form.fields as readonly string[]).includes(fieldname)
  return isKnown && filename === undefined && !mimetype.startsWith('application/json')
}

/**
 * Returns how many bytes at the end of a chunk may begin a delimiter. It has one carriage return.
 */
function matchedAtEnd(chunk: Buffer, delimiter: Buffer): number {
  const tail = chunk.subarray(Math.max(0, chunk.length - delimiter.length + 1))
  const start = tail.lastIndexOf(CARRIAGE_RETURN)
  if (start < 0) return 0
  const matched = tail.subarray(start)
  return matched.equals(delimiter.subarray(0, matched.length)) ? matched.length : 0
}
