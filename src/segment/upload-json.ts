import { isUtf8 } from 'node:buffer'
import { GatewayError } from '../errors.js'
import { describeKind } from './describe.js'
import { type ImageSource, imageFromText, invalidImage } from './image-source.js'
import { repeatedMembers, scanMembers } from './json-members.js'
import {
  admitField,
  completeForm,
  emptyDraft,
  type ReceivedForm,
  SEGMENT_FORM,
  takeImage,
  type UploadLimits,
} from './upload.js'

const BYTE_ORDER_MARK = /^\ufeff/

/**
 * Reads a JSON body; a member that is `null` counts as not given. Throws `invalid_request` (not JSON, not an object, unknown or
 * repeated members, too deep or with too many values), `missing_image`, `invalid_parameter`, `unsupported_image`, `image_too_large`, `image_url_refused`.
 */
export function receiveJson(body: Buffer | string, limits: UploadLimits): ReceivedForm {
  const text = asText(body).replace(BYTE_ORDER_MARK, '')
  const names = scanMembers(text, limits.form ?? SEGMENT_FORM)
  const members = parseObject(text)
  const draft = emptyDraft(limits)
  for (const name of repeatedMembers(names)) draft.repeated.add(name)
  for (const [name, value] of Object.entries(members)) {
    if (!admitField(draft, name) || value === null) continue
    if (name !== 'image') draft.fields[name] = value
    else takeImage(draft, () => imageFromMember(value, limits))
  }
  return completeForm(draft, Buffer.byteLength(body))
}

function imageFromMember(value: unknown, limits: UploadLimits): ImageSource {
  if (typeof value !== 'string') throw invalidImage(describeKind(value))
  return imageFromText(value, limits.maxImageBytes)
}

function asText(body: Buffer | string): string {
  if (typeof body === 'string') return body
  if (!isUtf8(body)) throw new GatewayError('invalid_request', 'The JSON body is not valid UTF-8.')
  return body.toString('utf8')
}

function parseObject(text: string): object {
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    // The parser's message quotes the text, which may be an image.
    throw new GatewayError('invalid_request', 'The body is not valid JSON.')
  }
  if (typeof value === 'object' && value !== null && !Array.isArray(value)) return value
  throw new GatewayError('invalid_request', `The JSON body must be an object; it was ${describeKind(value)}.`)
}
