import { isAscii } from 'node:buffer'
import { GatewayError } from '../contracts/errors.js'
import type { Digest, ImageBytes } from '../contracts/types.js'
import { collectBytes } from '../images/byte-collector.js'
import { asImage, imageTooLarge } from '../images/image-type.js'
import { BROKEN_TEXT } from './describe.js'

/**
 * Source of a request's image: its bytes, a URL to fetch, or the id of an image that the gateway
 * holds.
 */
export type ImageSource =
  | { kind: 'bytes'; image: ImageBytes }
  | { kind: 'url'; url: string }
  | { kind: 'id'; digest: Digest }

const ACCEPTED =
  'image takes a JPEG, PNG or WebP as a file, as base64 text, as a data: URI, as an http(s) URL, or sha256:<64 hex digits> of an image sent before'
const MAX_URL_CHARACTERS = 4096
const MAX_DATA_HEADER_CHARACTERS = 1024

/**
 * Parses the text form of an image: `http(s)` URL, `sha256:` id, `data:` URI, else base64 in either
 * alphabet (RFC 4648 §4, §5), with or without line breaks and padding. Throws `missing_image` for
 * blank text, `invalid_parameter`, `unsupported_image`, `image_too_large`, `image_url_refused`.
 * Never quotes the text.
 */
export function imageFromText(text: string, maxImageBytes: number): ImageSource {
  const trimmed = text.trim()
  const digest = ID.exec(trimmed)?.[1]
  return digest === undefined ? imageFromBytes(Buffer.from(trimmed), maxImageBytes) : byId(digest)
}

/**
 * Parses the text form of an image as `imageFromText` does, from valid UTF-8. Decodes an image
 * within `text`, which it overwrites, so that the image needs no second buffer.
 */
export function imageFromBytes(text: Buffer, maxImageBytes: number): ImageSource {
  const trimmed = withoutOuterBlanks(text)
  if (trimmed.length === 0) throw missingImage()
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(trimmed.toString('latin1', 0, 32))?.[1]?.toLowerCase()
  if (scheme === undefined) return fromBase64(trimmed, 'The base64 text in image', maxImageBytes)
  if (scheme === 'data') return fromDataUri(trimmed, maxImageBytes)
  // Longer than any URL in any encoding: converted only as far as an error needs it.
  const short = trimmed.toString('utf8', 0, 4 * MAX_URL_CHARACTERS)
  return scheme === 'sha256' ? fromId(short) : fromUrl(short, scheme)
}

export function missingImage(): GatewayError {
  return new GatewayError('missing_image', `The field image is missing or empty: ${ACCEPTED}.`)
}

/**
 * Creates the error for a value in no accepted form. `was` describes the value without quoting it.
 */
export function invalidImage(was: string): GatewayError {
  return new GatewayError('invalid_parameter', `${ACCEPTED}; it was ${was}.`)
}

const ID = /^sha256:([0-9a-f]{64})$/i

function fromId(text: string): ImageSource {
  const digest = ID.exec(text)?.[1]
  if (digest === undefined) throw invalidImage('a sha256: id without exactly 64 hex digits')
  return byId(digest)
}

function byId(digest: string): ImageSource {
  return { kind: 'id', digest: digest.toLowerCase() }
}

function fromUrl(text: string, scheme: string): ImageSource {
  if (scheme !== 'http' && scheme !== 'https') {
    if (!text.startsWith('//', scheme.length + 1)) throw otherText(text)
    throw new GatewayError('image_url_refused', 'An image URL must begin with http:// or https://.')
  }
  if (text.length > MAX_URL_CHARACTERS) throw invalidImage(`a URL of more than ${MAX_URL_CHARACTERS} characters`)
  if (!URL.canParse(text)) throw invalidImage('a malformed URL')
  if (BROKEN_TEXT.test(text)) throw invalidImage('a URL in a broken encoding')
  return { kind: 'url', url: text }
}

/** Parses a `data:` URI (RFC 2397). Ignores the declared type: the bytes decide. */
function fromDataUri(text: Buffer, maxImageBytes: number): ImageSource {
  const header = text.toString('latin1', 'data:'.length, MAX_DATA_HEADER_CHARACTERS)
  const comma = header.indexOf(',')
  if (comma < 0) throw invalidImage('a data: URI without a comma near its beginning')
  const subject = 'The content of the data: URI in image'
  const content = percentDecoded(text.subarray('data:'.length + comma + 1))
  const isBase64 = /;\s*base64\s*$/i.test(header.slice(0, comma))
  return isBase64 ? fromBase64(content, subject, maxImageBytes) : fromBytes(content, subject, maxImageBytes)
}

const PERCENT = 0x25

/** Decodes percent escapes within `text`. */
function percentDecoded(text: Buffer): Buffer {
  const first = text.indexOf(PERCENT)
  if (first < 0) return text
  let length = first
  for (let index = first; index < text.length; index++) {
    let byte = text[index] as number
    if (byte === PERCENT) {
      byte = 16 * hexValue(text[index + 1]) + hexValue(text[index + 2])
      if (Number.isNaN(byte)) throw invalidImage('a data: URI with a broken percent escape')
      index += 2
    }
    text[length++] = byte
  }
  return text.subarray(0, length)
}

/**
 * Returns the value of a hex digit, or NaN. Works on character codes, since there may be millions
 * of digits.
 */
export function hexValue(code = 0): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : Number.NaN
}

function fromBase64(text: Buffer, subject: string, maxImageBytes: number): ImageSource {
  // Decoding overwrites the text.
  const start = text.toString('utf8', 0, MAX_NAME_BYTES)
  if (HEX_DIGEST.test(start)) throw invalidImage('64 hex digits without sha256: before them')
  const lines = isAscii(text) ? withoutLineBreaks(text) : undefined
  if (lines && BLANKS.some(blank => lines.includes(blank))) throw otherText(start)
  const bytes = lines && decodeBase64(lines)
  if (bytes === undefined) throw otherText(start)
  return fromBytes(bytes, subject, maxImageBytes)
}

const PLUS_LOST =
  'base64 text with blanks inside. A + becomes a blank where text is decoded as a URL-encoded form without %2B'
const MAX_NAME_BYTES = 256
/** The first bytes of a JPEG, PNG or WebP, of which one lost its + to a blank here or later. */
const BASE64_WITH_BLANK = /^(?:\/9j\/|iVBORw0KGgo|UklGR)/
const OBJECT_TEXT = /^\[object \w+\]$/
const HEX_DIGEST = /^[0-9a-f]{64}$/i
const FILE_NAME = /^[^\r\n\0]{1,200}\.(?:jpe?g|png|webp|heic|heif|avif|gif|tiff?|bmp)$/i

/** Creates the error for text that is no image, URL or id. */
function otherText(start: string): GatewayError {
  if (BASE64_WITH_BLANK.test(start)) return invalidImage(PLUS_LOST)
  if (OBJECT_TEXT.test(start)) return invalidImage('the text of a JavaScript object; append the File or Blob itself')
  if (!FILE_NAME.test(start)) return invalidImage('text in none of these forms')
  return invalidImage('the name of a file instead of its contents; with curl, write -F image=@photo.jpg')
}

/** Divisible by 4, so that a slice ends between two groups of digits. */
const SLICE_CHARACTERS = 64 * 1024
const EQUALS_SIGN = 0x3d

/**
 * Decodes ASCII text without blanks within its own buffer, in slices: the bytes need less room than
 * the digits. The decoder skips characters that are not base64, so a result shorter than expected
 * shows that there were some.
 */
function decodeBase64(text: Buffer): Buffer | undefined {
  const padding = text.at(-1) !== EQUALS_SIGN ? 0 : text.at(-2) !== EQUALS_SIGN ? 1 : 2
  const digits = text.length - padding
  if (digits % 4 === 1 || (padding > 0 && text.length % 4 !== 0)) return undefined
  let length = 0
  for (let at = 0; at < text.length; at += SLICE_CHARACTERS) {
    length += text.write(text.toString('latin1', at, at + SLICE_CHARACTERS), length, 'base64')
  }
  return length === Math.floor((digits * 3) / 4) ? text.subarray(0, length) : undefined
}

function isBlank(byte: number | undefined): boolean {
  return byte === 0x20 || (byte !== undefined && byte >= 0x09 && byte <= 0x0d)
}

/**
 * Removes line breaks from ASCII text, within its buffer, byte by byte: a pattern takes seconds for
 * millions of them.
 */
function withoutLineBreaks(text: Buffer): Buffer {
  if (!text.includes(LINE_FEED) && !text.includes(CARRIAGE_RETURN)) return text
  let length = 0
  for (let index = 0; index < text.length; index++) {
    const byte = text[index] as number
    if (byte !== LINE_FEED && byte !== CARRIAGE_RETURN) text[length++] = byte
  }
  return text.subarray(0, length)
}

const LINE_FEED = 0x0a
const CARRIAGE_RETURN = 0x0d
const BLANKS = [0x20, 0x09, 0x0b, 0x0c]
const BYTE_ORDER_MARK = Buffer.from('\ufeff')

function withoutOuterBlanks(text: Buffer): Buffer {
  let start = text.subarray(0, BYTE_ORDER_MARK.length).equals(BYTE_ORDER_MARK) ? BYTE_ORDER_MARK.length : 0
  let end = text.length
  while (start < end && isBlank(text[start])) start++
  while (end > start && isBlank(text[end - 1])) end--
  return text.subarray(start, end)
}

function fromBytes(bytes: Buffer, subject: string, maxImageBytes: number): ImageSource {
  if (bytes.length === 0) throw missingImage()
  if (bytes.length > maxImageBytes) throw imageTooLarge(maxImageBytes)
  return { kind: 'bytes', image: asImage(collectBytes(bytes), subject) }
}
