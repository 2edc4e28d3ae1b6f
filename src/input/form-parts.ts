import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../contracts/errors.js'
import type { CollectedBytes } from '../images/byte-collector.js'
import { asImage, imageTooLarge, imageTypeOf } from '../images/image-type.js'
import { describeValue } from './describe.js'
import { admitField, type FormDraft, isRefused, setImage } from './form.js'
import { type ImageSource, imageFromBytes, invalidImage, missingImage } from './image-source.js'

/** A field's value as it arrived. */
export interface TextPart {
  fieldname: string
  value: unknown
  valueTruncated: boolean
  /** `Content-Transfer-Encoding`; `7bit` if the sender declared none. */
  encoding: string
}

/**
 * The headers of a part that is read as bytes. The image is one in each of its forms, text
 * included.
 */
export interface FileHead {
  fieldname: string
  /** Absent if the sender gave none, contrary to the plugin's types. */
  filename?: string | undefined
  /** `text/plain` if the sender declared none. */
  mimetype: string
  encoding: string
}

/** Books bytes of a part before they are kept. Throws the errors of `onBytes`. */
export function countBytes(draft: FormDraft, bytes: number): void {
  draft.receivedBytes += bytes
  if (!isRefused(draft)) draft.onBytes?.(bytes)
}

/** Sets a field of text. Throws the errors of `onBytes`. */
export function takeText(part: TextPart, draft: FormDraft): void {
  const { fieldname, value } = part
  if (typeof value === 'string') countBytes(draft, Buffer.byteLength(value))
  if (!admitField(draft, fieldname)) return
  if (part.valueTruncated) {
    const detail = `${fieldname} is longer than the limit of ${draft.form.fieldBytes} bytes.`
    draft.failure ??= new GatewayError('invalid_parameter', detail)
  } else if (!isPlain(part.encoding)) {
    draft.failure ??= encodedPart(fieldname, part.encoding)
  } else if (fieldname === 'image') {
    draft.failure ??= invalidImage('a value that is not text')
  } else {
    draft.fields[fieldname] = value
  }
}

/**
 * Admits a part that is read as bytes. Returns the most bytes to keep: 0 when the form is refused
 * already.
 */
export function admitFile(part: FileHead, draft: FormDraft): number {
  const name = part.fieldname
  const isAdmitted = admitField(draft, name)
  if (isAdmitted && name !== 'image') {
    draft.failure ??= new GatewayError('invalid_parameter', `${name} takes text; it was a file.`)
  }
  if (!isPlain(part.encoding)) draft.failure ??= encodedPart(name, part.encoding)
  if (isRefused(draft)) return 0
  return isText(part) ? draft.maxBytes : draft.maxImageBytes
}

/** Sets the image. `bytes` is undefined for one that is too large. */
export function takeFile(part: FileHead, bytes: CollectedBytes | undefined, draft: FormDraft): void {
  if (!isRefused(draft)) setImage(draft, () => imageOf(part, bytes, draft.maxImageBytes))
}

function imageOf(part: FileHead, bytes: CollectedBytes | undefined, maxImageBytes: number): ImageSource {
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
function isText(part: FileHead): boolean {
  return part.filename === undefined && part.mimetype.startsWith('text/')
}

/** Transfer encodings that leave the bytes as they are. Others are deprecated (RFC 7578 §4.7). */
const PLAIN: ReadonlySet<string> = new Set(['7bit', '8bit', 'binary'])

function isPlain(encoding: string): boolean {
  return PLAIN.has(encoding.toLowerCase())
}

function encodedPart(name: string, encoding: string): GatewayError {
  const detail = `${name} has the Content-Transfer-Encoding ${describeValue(encoding)}. Send the value as it is.`
  return new GatewayError('invalid_parameter', detail)
}
