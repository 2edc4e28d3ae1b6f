import { GatewayError } from '../errors.js'
import { describeNames } from './describe.js'
import { type ImageSource, missingImage } from './image-source.js'

/** The fields of Segmind beside `image` (SPEC §3). */
const SEGMIND_FIELDS = ['prompt', 'coordinates', 'remove_coordinates', 'overlay_mask', 'base64'] as const
/** Those, and what only the gateway knows. */
export const FIELD_NAMES = [...SEGMIND_FIELDS, 'output'] as const

export type FieldName = (typeof FIELD_NAMES)[number] | 'selections'

/** Values as they came: text from a form, any JSON value from a JSON body; absent = not given. */
export type FormFields = { readonly [name in FieldName]?: unknown }

/** What a body may hold beside the image, and how much of it. */
export interface UploadForm {
  fields: readonly FieldName[]
  /** Of all of them together, and of one. */
  fieldsBytes: number
  fieldBytes: number
  /** Bounds of a JSON body: levels of lists and objects, and strings, brackets, colons and commas in all. */
  maxDepth: number
  maxMarks: number
}

const KIB = 1024
/** One level, a list of points two more; two lists of a hundred points have about a thousand marks. */
const ONE_SELECTION = { fieldsBytes: 256 * KIB, fieldBytes: 64 * KIB, maxDepth: 4, maxMarks: 4096 }
/** `POST /segment`. */
export const SEGMENT_FORM: UploadForm = { fields: FIELD_NAMES, ...ONE_SELECTION }
/** The doors of Segmind. */
export const SEGMIND_FORM: UploadForm = { fields: SEGMIND_FIELDS, ...ONE_SELECTION }
/** `POST /images`. */
export const IMAGE_FORM: UploadForm = { fields: [], ...ONE_SELECTION }
/** `POST /segment/batch`: a hundred selections, each two levels deeper. */
export const BATCH_FORM: UploadForm = {
  fields: ['selections', 'overlay_mask', 'output'],
  ...{ fieldsBytes: 2048 * KIB, fieldBytes: 1024 * KIB, maxDepth: 6, maxMarks: 100_000 },
}

export interface UploadLimits {
  maxImageBytes: number
  /** Default: that of `POST /segment`. */
  form?: UploadForm
}

const BASE64_GROWTH = 4 / 3
/** Line breaks in the base64 text, and JSON writers that escape each of them and every slash. */
const ESCAPES_GROWTH = 1.08

/**
 * The most bytes that a body with an accepted image can have, in the longest of its forms (base64 in JSON): the `bodyLimit` of the
 * routes that take one, and what a declared `Content-Length` may not exceed.
 */
export function maxUploadBytes({ maxImageBytes, form = SEGMENT_FORM }: UploadLimits): number {
  return Math.ceil(maxImageBytes * BASE64_GROWTH * ESCAPES_GROWTH) + form.fieldsBytes
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
  accepted: readonly FieldName[]
  image?: ImageSource
  fields: { [name in FieldName]?: unknown }
  seen: Set<string | undefined>
  unknown: Set<string | undefined>
  repeated: Set<string | undefined>
  /** The first thing wrong with a field's value. */
  failure?: GatewayError
}

export function emptyDraft({ form = SEGMENT_FORM }: UploadLimits): FormDraft {
  return { accepted: form.fields, fields: {}, seen: new Set(), unknown: new Set(), repeated: new Set() }
}

/** Notes that a field of this name arrived; tells whether its value is of use, which it is not when it is unknown or repeated. */
export function admitField(draft: FormDraft, name: string | undefined): name is FieldName | 'image' {
  if (!isAccepted(draft, name) && name !== 'image') {
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
    const accepted = ['image', ...draft.accepted].join(', ')
    throw new GatewayError(
      'invalid_request',
      `The request has ${faults.join(' and ')}. Accepted, once each: ${accepted}.`,
    )
  }
  if (draft.failure) throw draft.failure
  if (!draft.image) throw missingImage()
  return { image: draft.image, fields: draft.fields, uploadBytes }
}

function isAccepted({ accepted }: FormDraft, name: string | undefined): name is FieldName {
  return (accepted as readonly (string | undefined)[]).includes(name)
}
