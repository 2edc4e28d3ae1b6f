import { GatewayError } from '../errors.js'
import { describeNames } from './describe.js'
import { type ImageSource, missingImage } from './image-source.js'

/** The fields beside `image`, named as Segmind's (SPEC §3). */
export const FIELD_NAMES = ['prompt', 'coordinates', 'remove_coordinates', 'overlay_mask', 'base64'] as const

export type FieldName = (typeof FIELD_NAMES)[number]

/** Values as they came: text from a form, any JSON value from a JSON body; absent = not given. */
export type FormFields = { readonly [name in FieldName]?: unknown }

export interface UploadLimits {
  maxImageBytes: number
}

const FIELDS_BYTES = 256 * 1024
const BASE64_GROWTH = 4 / 3
/** Line breaks in the base64 text, and JSON writers that escape each of them and every slash. */
const ESCAPES_GROWTH = 1.08

/**
 * The most bytes that a body with an accepted image can have, in the longest of its forms (base64 in JSON): the `bodyLimit` of the
 * routes that take one, and what a declared `Content-Length` may not exceed.
 */
export function maxUploadBytes(maxImageBytes: number): number {
  return Math.ceil(maxImageBytes * BASE64_GROWTH * ESCAPES_GROWTH) + FIELDS_BYTES
}

/** A request body that was read to its end, in whichever form it came. */
export interface ReceivedForm {
  image: ImageSource
  fields: FormFields
  /** Bytes of the contents that arrived: the whole body of JSON, the parts without their headers of multipart. */
  uploadBytes: number
}

/** A form while it is being read: its faults are gathered, so that all unknown and repeated fields are named, wherever they stand. */
export interface FormDraft {
  image?: ImageSource
  fields: { [name in FieldName]?: unknown }
  seen: Set<string | undefined>
  unknown: Set<string | undefined>
  repeated: Set<string | undefined>
  /** The first thing wrong with a field's value. */
  failure?: GatewayError
}

export function emptyDraft(): FormDraft {
  return { fields: {}, seen: new Set(), unknown: new Set(), repeated: new Set() }
}

/** Notes that a field of this name arrived; tells whether its value is of use, which it is not when it is unknown or repeated. */
export function admitField(draft: FormDraft, name: string | undefined): name is FieldName | 'image' {
  if (!isFieldName(name) && name !== 'image') {
    draft.unknown.add(name)
    return false
  }
  if (draft.seen.has(name)) {
    draft.repeated.add(name)
    return false
  }
  draft.seen.add(name)
  return true
}

/** Reads the image; what is wrong with it waits for the end of the body. */
export function takeImage(draft: FormDraft, read: () => ImageSource): void {
  try {
    draft.image = read()
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    draft.failure ??= error
  }
}

/** Whether the request is refused already, so that nothing more needs to be kept. */
export function isRefused(draft: FormDraft): boolean {
  return draft.failure !== undefined || draft.unknown.size > 0 || draft.repeated.size > 0
}

/** Ends the reading. Throws `invalid_request` naming unknown and repeated fields, then what was wrong with a value, then `missing_image`. */
export function completeForm(draft: FormDraft, uploadBytes: number): ReceivedForm {
  const faults: string[] = []
  if (draft.unknown.size > 0) faults.push(`unknown field ${describeNames(draft.unknown)}`)
  if (draft.repeated.size > 0) faults.push(`repeated field ${describeNames(draft.repeated)}`)
  if (faults.length > 0) {
    const accepted = `image, ${FIELD_NAMES.join(', ')}`
    throw new GatewayError(
      'invalid_request',
      `The request has ${faults.join(' and ')}. Accepted, once each: ${accepted}.`,
    )
  }
  if (draft.failure) throw draft.failure
  if (!draft.image) throw missingImage()
  return { image: draft.image, fields: draft.fields, uploadBytes }
}

function isFieldName(name: string | undefined): name is FieldName {
  return (FIELD_NAMES as readonly (string | undefined)[]).includes(name)
}
