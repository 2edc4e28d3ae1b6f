import { GatewayError } from '../contracts/errors.js'
import { describeNames } from './describe.js'
import { type ImageSource, missingImage } from './image-source.js'

/** Segmind's fields beside `image` (docs/segmind.md). */
const SEGMIND_FIELDS = ['prompt', 'coordinates', 'remove_coordinates', 'overlay_mask', 'base64'] as const
/** Segmind's fields, and those that only the gateway knows. */
export const FIELD_NAMES = [...SEGMIND_FIELDS, 'output', 'simplify'] as const

export type FieldName = (typeof FIELD_NAMES)[number] | 'selections'

/**
 * Values as received: text from a form, any JSON value from a JSON body. Absent means not given.
 */
export type FormFields = { readonly [name in FieldName]?: unknown }

/** Limits of a body beside its image. */
export interface UploadForm {
  fields: readonly FieldName[]
  /** Bytes of all fields together. */
  fieldsBytes: number
  /** Bytes of one field. */
  fieldBytes: number
  /** Nested lists and objects of a JSON body. */
  maxDepth: number
  /** Strings, brackets, colons and commas of a JSON body together. */
  maxTokens: number
}

const KIB = 1024
/**
 * Fits one level and two more for lists of points. Two lists of a hundred points have about a
 * thousand tokens.
 */
const ONE_SELECTION = { fieldsBytes: 256 * KIB, fieldBytes: 64 * KIB, maxDepth: 4, maxTokens: 4096 }
/** `POST /segment`. */
export const SEGMENT_FORM: UploadForm = { fields: FIELD_NAMES, ...ONE_SELECTION }
/** Routes of the drop-in API. */
export const SEGMIND_FORM: UploadForm = { fields: SEGMIND_FIELDS, ...ONE_SELECTION }
/** `POST /images`. */
export const IMAGE_FORM: UploadForm = { fields: [], ...ONE_SELECTION }
/** `POST /segment/batch`: a hundred selections, nested two levels deeper. */
export const BATCH_FORM: UploadForm = {
  fields: ['selections', 'overlay_mask', 'output', 'simplify'],
  fieldsBytes: 2048 * KIB,
  fieldBytes: 1024 * KIB,
  maxDepth: 6,
  maxTokens: 100_000,
}

export interface UploadLimits {
  maxImageBytes: number
  /** Default: that of `POST /segment`. */
  form?: UploadForm
  /** Called before bytes of a multipart body are kept. May throw, which ends the reading. */
  onBytes?: ((count: number) => void) | undefined
}

const BASE64_GROWTH = 4 / 3
/**
 * Growth by line breaks in the base64 text, and by JSON writers that escape each of them and every
 * slash.
 */
const ESCAPES_GROWTH = 1.08

/**
 * Computes the largest body that an accepted image can need in its longest form, base64 in JSON.
 * This is the `bodyLimit` of the upload routes, and the limit of a declared `Content-Length`.
 */
export function maxUploadBytes({ maxImageBytes, form = SEGMENT_FORM }: UploadLimits): number {
  return Math.ceil(maxImageBytes * BASE64_GROWTH * ESCAPES_GROWTH) + form.fieldsBytes
}

/** A request body that was read to its end, in any of its forms. */
export interface ReceivedForm {
  image: ImageSource
  fields: FormFields
  /** Bytes received: the whole body for JSON, the parts without their headers for multipart. */
  uploadBytes: number
}

/**
 * A form while it is read. Collects faults, so that the error names every unknown and repeated
 * field.
 */
export interface FormDraft {
  form: UploadForm
  maxImageBytes: number
  /** Largest body that an accepted image can need. */
  maxBytes: number
  onBytes?: ((count: number) => void) | undefined
  receivedBytes: number
  image?: ImageSource
  fields: { [name in FieldName]?: unknown }
  seen: Set<string | undefined>
  unknown: Set<string | undefined>
  repeated: Set<string | undefined>
  /** The first fault in the value of a field. */
  failure?: GatewayError
}

export function emptyDraft({ maxImageBytes, form = SEGMENT_FORM, onBytes }: UploadLimits): FormDraft {
  return {
    form,
    maxImageBytes,
    maxBytes: maxUploadBytes({ maxImageBytes, form }),
    onBytes,
    receivedBytes: 0,
    fields: {},
    seen: new Set(),
    unknown: new Set(),
    repeated: new Set(),
  }
}

/**
 * Records that a field arrived. Returns false for an unknown or repeated one, whose value is not
 * needed.
 */
export function admitField(draft: FormDraft, name: string | undefined): name is FieldName | 'image' {
  if (name !== 'image' && !(draft.form.fields as readonly unknown[]).includes(name)) {
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

/** Sets the image. Keeps an error of `read` for the end of the body. */
export function setImage(draft: FormDraft, read: () => ImageSource): void {
  try {
    draft.image = read()
  } catch (error) {
    if (!(error instanceof GatewayError)) throw error
    draft.failure ??= error
  }
}

/** Returns whether the request is already refused, so that no further value is needed. */
export function isRefused(draft: FormDraft): boolean {
  return draft.failure !== undefined || draft.unknown.size > 0 || draft.repeated.size > 0
}

/**
 * Completes the form. Throws `invalid_request` for unknown and repeated fields, else the first
 * fault of a value, else `missing_image`.
 */
export function completeForm(draft: FormDraft): ReceivedForm {
  const faults: string[] = []
  if (draft.unknown.size > 0) faults.push(`unknown field ${describeNames(draft.unknown)}`)
  if (draft.repeated.size > 0) faults.push(`repeated field ${describeNames(draft.repeated)}`)
  if (faults.length > 0) {
    const accepted = ['image', ...draft.form.fields].join(', ')
    const isList = [...draft.repeated].some(name => name === 'coordinates' || name === 'remove_coordinates')
    const hint = isList ? ' Send all points as one JSON text; with Python: json.dumps(points).' : ''
    throw new GatewayError(
      'invalid_request',
      `The request has ${faults.join(' and ')}. Accepted, once each: ${accepted}.${hint}`,
    )
  }
  if (draft.failure) throw draft.failure
  if (!draft.image) throw missingImage()
  return { image: draft.image, fields: draft.fields, uploadBytes: draft.receivedBytes }
}
