import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../contracts/errors.js'
import { describeKind } from './describe.js'
import {
  admitField,
  completeForm,
  emptyDraft,
  type ReceivedForm,
  SEGMENT_FORM,
  setImage,
  type UploadLimits,
} from './form.js'
import { type ImageSource, imageFromBytes, imageFromText, invalidImage } from './image-source.js'
import { type Member, repeatedMembers, scanMembers } from './json-members.js'
import { unescapeJson } from './json-text.js'

/** A longer image text is decoded within the body, and not parsed as JSON. */
const LARGE_BYTES = 16 * 1024

/**
 * Reads a JSON body. Decodes a large image within `body`, which it overwrites: the parser and a
 * string would need three more copies. A member that is `null` counts as not given. Throws
 * `invalid_request` (not JSON, not an object, unknown or repeated members, too deep, too many
 * values), `missing_image`, `invalid_parameter`, `unsupported_image`, `image_too_large`,
 * `image_url_refused`.
 */
export function receiveJson(body: Buffer, limits: UploadLimits): ReceivedForm {
  if (!isUtf8(body)) throw new GatewayError('invalid_request', 'The JSON body is not valid UTF-8.')
  const json = withoutByteOrderMark(body)
  const members = scanMembers(json, limits.form ?? SEGMENT_FORM)
  const { rest, image } = cutLargeImage(json, members)
  const values = parseObject(rest)
  const draft = emptyDraft(limits)
  const names = Object.keys(values)
  if (names.length < members.length) for (const name of repeatedMembers(members)) draft.repeated.add(name)
  for (const name of names) {
    const value = values[name]
    if (!admitField(draft, name) || value === null) continue
    if (name !== 'image') draft.fields[name] = value
    else if (image) setImage(draft, () => imageFromBytes(image, limits.maxImageBytes))
    else setImage(draft, () => imageFromMember(value, limits))
  }
  draft.receivedBytes = body.length
  return completeForm(draft)
}

function withoutByteOrderMark(body: Buffer): Buffer {
  return body[0] === 0xef && body[1] === 0xbb && body[2] === 0xbf ? body.subarray(3) : body
}

/** Separates a large text of the member `image` from the rest, where it becomes empty text. */
function cutLargeImage(json: Buffer, members: readonly Member[]): { rest: Buffer; image?: Buffer } {
  const text = members.find(({ name }) => name === '"image"')?.text
  if (!text || text.end - text.start <= LARGE_BYTES || text.end >= json.length) return { rest: json }
  const rest = Buffer.concat([json.subarray(0, text.start), json.subarray(text.end)])
  const image = json.subarray(text.start, text.end)
  return { rest, image: unescapeJson(image) ?? invalidJson() }
}

function imageFromMember(value: unknown, limits: UploadLimits): ImageSource {
  if (typeof value !== 'string') throw invalidImage(describeKind(value))
  return imageFromText(value, limits.maxImageBytes)
}

function parseObject(json: Buffer): Record<string, unknown> {
  let value: unknown
  try {
    value = JSON.parse(json.toString('utf8'))
  } catch {
    // The parser's message quotes the text, which may be an image.
    invalidJson()
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value as Record<string, unknown>
  throw new GatewayError('invalid_request', `The JSON body must be an object; it was ${describeKind(value)}.`)
}

function invalidJson(): never {
  throw new GatewayError('invalid_request', 'The body is not valid JSON.')
}
