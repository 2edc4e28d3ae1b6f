import { GatewayError } from '../errors.js'
import { isBrokenText } from './broken-text.js'
import { collectBytes } from './byte-collector.js'
import { asImage } from './image-type.js'
import type { Digest, ImageBytes } from './types.js'

/** Where the image of a request is: here, at an address to fetch, or among the images the gateway holds. */
export type ImageSource =
  | { kind: 'bytes'; image: ImageBytes }
  | { kind: 'url'; url: string }
  | { kind: 'id'; digest: Digest }

const ACCEPTED =
  'image takes a JPEG, PNG or WebP as a file, as base64 text, as a data: URI, as an http(s) URL, or sha256:<64 hex digits> of an image sent before'
const LONGEST_URL_CHARACTERS = 4096
const LONGEST_DATA_HEADER_CHARACTERS = 1024

/**
 * Reads the text form of an image: `http(s)` URL, `sha256:` id, `data:` URI, else raw base64 in either alphabet (RFC 4648 §4, §5),
 * with line breaks and without padding where the sender left it out.
 * Throws `missing_image` for blank text, `invalid_parameter`, `unsupported_image`, `image_too_large`, `image_url_refused`. Never quotes the text.
 */
export function imageFromText(text: string, maxImageBytes: number): ImageSource {
  const trimmed = text.trim()
  if (trimmed === '') throw missingImage()
  const scheme = /^([a-z][a-z0-9+.-]*):/i.exec(trimmed.slice(0, 32))?.[1]?.toLowerCase()
  if (scheme === undefined) return fromBase64(trimmed, 'The base64 text in image', maxImageBytes)
  if (scheme === 'data') return fromDataUri(trimmed, maxImageBytes)
  if (scheme === 'sha256') return fromId(trimmed)
  return fromUrl(trimmed, scheme)
}

export function missingImage(): GatewayError {
  return new GatewayError('missing_image', `The field image is missing or empty: ${ACCEPTED}.`)
}

/** The refusal of a value that is none of the accepted forms; `was` says what it is without quoting it. */
export function invalidImage(was: string): GatewayError {
  return new GatewayError('invalid_parameter', `${ACCEPTED}; it was ${was}.`)
}

export function imageTooLarge(maxImageBytes: number): GatewayError {
  return new GatewayError('image_too_large', `The image is larger than the limit of ${maxImageBytes} bytes.`)
}

function fromId(text: string): ImageSource {
  const digest = /^sha256:([0-9a-f]{64})$/i.exec(text)?.[1]
  if (digest === undefined) throw invalidImage('a sha256: id without exactly 64 hex digits')
  return { kind: 'id', digest: digest.toLowerCase() }
}

function fromUrl(text: string, scheme: string): ImageSource {
  if (scheme !== 'http' && scheme !== 'https') {
    if (!text.startsWith('//', scheme.length + 1)) throw invalidImage('a text that is none of these')
    throw new GatewayError('image_url_refused', 'Only http and https URLs are fetched as an image.')
  }
  if (text.length > LONGEST_URL_CHARACTERS)
    throw invalidImage(`a URL of more than ${LONGEST_URL_CHARACTERS} characters`)
  if (!URL.canParse(text)) throw invalidImage('a malformed URL')
  if (isBrokenText(text)) throw invalidImage('a URL in a broken encoding')
  return { kind: 'url', url: text }
}

/** RFC 2397. The declared type is not looked at: the bytes decide. */
function fromDataUri(text: string, maxImageBytes: number): ImageSource {
  const comma = text.slice(0, LONGEST_DATA_HEADER_CHARACTERS).indexOf(',')
  if (comma < 0) throw invalidImage('a data: URI without a comma near its beginning')
  const subject = 'The content of the data: URI in image'
  const content = text.slice(comma + 1)
  if (/;\s*base64\s*$/i.test(text.slice('data:'.length, comma))) {
    return fromBase64(
      content.includes('%') ? percentDecoded(content).toString('latin1') : content,
      subject,
      maxImageBytes,
    )
  }
  return fromBytes(percentDecoded(content), subject, maxImageBytes)
}

function percentDecoded(text: string): Buffer {
  const source = Buffer.from(text)
  const decoded = Buffer.allocUnsafe(source.length)
  let length = 0
  for (let at = 0; at < source.length; at++) {
    let byte = source[at] as number
    if (byte === 0x25) {
      byte = 16 * hexValue(source[at + 1]) + hexValue(source[at + 2])
      if (Number.isNaN(byte)) throw invalidImage('a data: URI with a broken percent escape')
      at += 2
    }
    decoded[length++] = byte
  }
  return decoded.subarray(0, length)
}

/** The value of a hex digit by its character code; NaN for what is none. No pattern and no text: there may be millions of them. */
function hexValue(code = 0): number {
  if (code >= 0x30 && code <= 0x39) return code - 0x30
  const letter = code | 0x20
  return letter >= 0x61 && letter <= 0x66 ? letter - 0x57 : Number.NaN
}

function fromBase64(text: string, subject: string, maxImageBytes: number): ImageSource {
  const isAscii = Buffer.byteLength(text) === text.length
  const bytes = isAscii ? decodeBase64(/\s/.test(text) ? withoutBlanks(text) : text) : undefined
  if (bytes === undefined) throw invalidImage('a text that is none of these')
  return fromBytes(bytes, subject, maxImageBytes)
}

/** Of ASCII text without blanks. `Buffer.from` skips what is not base64: then fewer bytes come out than the characters stand for. */
function decodeBase64(text: string): Buffer | undefined {
  const padding = /={0,2}$/.exec(text.slice(-2))?.[0].length ?? 0
  const digits = text.length - padding
  if (digits % 4 === 1 || (padding > 0 && text.length % 4 !== 0)) return undefined
  const bytes = Buffer.from(text, 'base64')
  return bytes.length === Math.floor((digits * 3) / 4) ? bytes : undefined
}

/** ASCII text without its spaces, tabs and line breaks. By the byte: a pattern takes seconds for millions of them. */
function withoutBlanks(text: string): string {
  const bytes = Buffer.from(text, 'latin1')
  let length = 0
  for (let at = 0; at < bytes.length; at++) {
    const byte = bytes[at] as number
    if (byte !== 0x20 && (byte < 0x09 || byte > 0x0d)) bytes[length++] = byte
  }
  return bytes.toString('latin1', 0, length)
}

function fromBytes(bytes: Buffer, subject: string, maxImageBytes: number): ImageSource {
  if (bytes.length === 0) throw missingImage()
  if (bytes.length > maxImageBytes) throw imageTooLarge(maxImageBytes)
  return { kind: 'bytes', image: asImage(collectBytes(bytes), subject) }
}
