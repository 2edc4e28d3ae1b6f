import type { MultipartFile, MultipartValue } from '@fastify/multipart'
import { defined } from '../contracts/defined.js'
import type { Point } from '../contracts/types.js'
import { type Api, readTriggers, type Triggers } from './triggers.js'

/** Validated request to `sam-v2-image`. */
export interface SegmentInput {
  image: Buffer
  prompt?: string
  points: readonly Point[]
  removed: readonly Point[]
  overlay: boolean
  base64: boolean
  triggers: Triggers
  /** Selection and overlay as text, without the image. Equal questions have equal text. */
  question: string
}

/** Status and error of a rejected request, as Segmind sends them. */
export interface Rejection {
  status: 400 | 422
  error: string
}

/** Fields of a JSON body, or of a multipart body: text, and the image as bytes. */
export type Fields = Record<string, unknown>

/**
 * Validates the fields of a request as strictly as docs/segmind.md describes them, to find client
 * errors.
 */
export function parseInput(fields: Fields, api: Api = 'v1'): SegmentInput | Rejection {
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
  const parsed = readTriggers(texts.prompt ?? '', api)
  if ('problem' in parsed) return rejection(400, parsed.problem)
  const hasPrompt = (texts.prompt ?? '').trim() !== ''
  if (!hasPrompt && points.length === 0) return rejection(400, 'prompt or coordinates is required')
  const prompt = parsed.prompt ?? (points.length === 0 ? 'the main thing' : undefined)
  const question = JSON.stringify([prompt ?? points, removed, flags.overlay])
  return {
    image,
    ...defined({ prompt }),
    points,
    removed,
    ...flags,
    triggers: parsed.triggers,
    question,
  }
}

/** Collects the fields of a multipart body. A file part becomes bytes, every other part text. */
export async function collectParts(parts: AsyncIterable<MultipartFile | MultipartValue>): Promise<Fields> {
  const fields: Fields = {}
  for await (const part of parts) {
    fields[part.fieldname] = part.type === 'file' ? await part.toBuffer() : formValue(part.fieldname, part.value)
  }
  return fields
}

/** Parses the booleans of a form. Python clients send `True` and `False`, others `true` or `1`. */
function formValue(name: string, value: unknown): unknown {
  if (name !== 'overlay_mask' && name !== 'base64') return value
  const text = String(value).toLowerCase()
  if (text === 'true' || text === '1') return true
  return text === 'false' || text === '0' ? false : value
}

function readImage(value: unknown): Buffer | Rejection {
  if (Buffer.isBuffer(value)) return value.length > 0 ? value : rejection(400, 'image is empty')
  if (typeof value !== 'string' || value === '')
    return rejection(400, 'image is required: base64 text or an http(s) URL')
  if (/^https?:/i.test(value)) return rejection(400, 'image: the sandbox fetches no URLs; send base64')
  if (/^data:/i.test(value)) return rejection(400, 'image must be raw base64 without a data: prefix')
  if (!/^[A-Za-z0-9+/]+={0,2}$/.test(value) || value.length % 4 === 1)
    return rejection(400, 'image is not valid base64')
  return Buffer.from(value, 'base64')
}

type Texts = Partial<Record<'prompt' | 'coordinates' | 'remove_coordinates', string>>

function readTexts(fields: Fields): Texts | Rejection {
  const texts: Texts = {}
  for (const name of ['prompt', 'coordinates', 'remove_coordinates'] as const) {
    const value = fields[name]
    if (value === undefined) continue
    if (typeof value !== 'string')
      return rejection(422, `${name} must be a string${name === 'prompt' ? '' : ' that holds JSON'}`)
    texts[name] = value
  }
  return texts
}

function readFlags(fields: Fields): { overlay: boolean; base64: boolean } | Rejection {
  const { overlay_mask: overlay = true, base64 = false } = fields
  if (typeof overlay !== 'boolean') return rejection(422, 'overlay_mask must be a boolean')
  if (typeof base64 !== 'boolean') return rejection(422, 'base64 must be a boolean')
  return { overlay, base64 }
}

function readPoints(name: string, text: string | undefined): Point[] | Rejection {
  if (text === undefined || text.trim() === '') return []
  const invalid = rejection(422, `${name} must hold [x,y] or [[x,y],…] as JSON`)
  let value: unknown
  try {
    value = JSON.parse(text)
  } catch {
    return invalid
  }
  const list = isPoint(value) ? [value] : value
  return Array.isArray(list) && list.every(isPoint) ? list : invalid
}

function isPoint(value: unknown): value is Point {
  return Array.isArray(value) && value.length === 2 && value.every(number => Number.isFinite(number) && number >= 0)
}

function rejection(status: 400 | 422, error: string): Rejection {
  return { status, error }
}
