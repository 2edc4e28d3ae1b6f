import type { MultipartFile, MultipartValue } from '@fastify/multipart'
import type { Point } from '../segment/types.js'
import { type Api, readTriggers, type Triggers } from './triggers.js'

/** A request to `sam-v2-image`, read and checked. */
export interface Order {
  image: Buffer
  prompt?: string
  points: readonly Point[]
  removed: readonly Point[]
  overlay: boolean
  base64: boolean
  triggers: Triggers
  /** Everything but the image, as text: the same for the same question. */
  question: string
}

/** Why a request is refused, in Segmind's statuses. */
export interface Refused {
  status: 400 | 422
  error: string
}

/** The fields as they came: from JSON as they are, from multipart as text, the image also as bytes. */
export type Fields = Record<string, unknown>

/** Reads a request's fields in the strict form that SEGMIND.md documents, so that a client which strays from it is told. */
export function readOrder(fields: Fields, api: Api = 'v1'): Order | Refused {
  const image = readImage(fields.image)
  if (!Buffer.isBuffer(image)) return image
  const texts = readTexts(fields)
  if ('status' in texts) return texts
  const flags = readFlags(fields)
  if ('status' in flags) return flags
  const points = readPoints('coordinates', texts.coordinates)
  const removed = readPoints('remove_coordinates', texts.remove_coordinates)
  if ('status' in points) return points
  if ('status' in removed) return removed
  const wanted = readTriggers(texts.prompt ?? '', api)
  if ('problem' in wanted) return refused(400, wanted.problem)
  const asked = (texts.prompt ?? '').trim() !== ''
  if (!asked && points.length === 0) return refused(400, 'prompt or coordinates is required')
  const prompt = wanted.prompt ?? (points.length === 0 ? 'the main thing' : undefined)
  const question = JSON.stringify([prompt ?? points, removed, flags.overlay])
  return {
    image,
    ...(prompt === undefined ? {} : { prompt }),
    points,
    removed,
    ...flags,
    triggers: wanted.triggers,
    question,
  }
}

/** Collects a multipart body. A file part is bytes; every other value is text. */
export async function collectParts(parts: AsyncIterable<MultipartFile | MultipartValue>): Promise<Fields> {
  const fields: Fields = {}
  for await (const part of parts) {
    fields[part.fieldname] = part.type === 'file' ? await part.toBuffer() : formValue(part.fieldname, part.value)
  }
  return fields
}

/** Booleans are text in a form: `True` and `False` from Python, `true`, `1` and so on from others. */
function formValue(name: string, value: unknown): unknown {
  if (name !== 'overlay_mask' && name !== 'base64') return value
  const text = String(value).toLowerCase()
  if (text === 'true' || text === '1') return true
  return text === 'false' || text === '0' ? false : value
}

function readImage(value: unknown): Buffer | Refused {
  if (Buffer.isBuffer(value)) return value.length > 0 ? value : refused(400, 'image is empty')
  if (typeof value !== 'string' || value === '') return refused(400, 'image is required: base64 text or an http(s) URL')
  if (/^https?:/i.test(value)) return refused(400, 'image: the sandbox fetches no URLs; send base64')
  if (/^data:/i.test(value)) return refused(400, 'image must be raw base64 without a data: prefix')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value) || value.length % 4 === 1) return refused(400, 'image is not valid base64')
  return Buffer.from(value, 'base64')
}

type Texts = Partial<Record<'prompt' | 'coordinates' | 'remove_coordinates', string>>

function readTexts(fields: Fields): Texts | Refused {
  const texts: Texts = {}
  for (const name of ['prompt', 'coordinates', 'remove_coordinates'] as const) {
    const value = fields[name]
    if (value === undefined) continue
    if (typeof value !== 'string')
      return refused(422, `${name} must be a string${name === 'prompt' ? '' : ' that holds JSON'}`)
    texts[name] = value
  }
  return texts
}

function readFlags(fields: Fields): { overlay: boolean; base64: boolean } | Refused {
  const { overlay_mask: overlay = true, base64 = false } = fields
  if (typeof overlay !== 'boolean') return refused(422, 'overlay_mask must be a boolean')
  if (typeof base64 !== 'boolean') return refused(422, 'base64 must be a boolean')
  return { overlay, base64 }
}

function readPoints(name: string, text: string | undefined): Point[] | Refused {
  if (text === undefined || text.trim() === '') return []
  const wrong = refused(422, `${name} must hold [x,y] or [[x,y],…] as JSON`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return wrong
  }
  const list = isPoint(value) ? [value] : value
  return Array.isArray(list) && list.every(isPoint) ? list : wrong
}

function isPoint(value: unknown): value is Point {
  return Array.isArray(value) && value.length === 2 && value.every(number => Number.isFinite(number) && number >= 0)
}

function refused(status: 400 | 422, error: string): Refused {
  return { status, error }
}
