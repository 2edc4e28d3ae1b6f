import { imageTypeOf } from '../segment/image-type.js'

/** The picture of an answer: its bytes, and the content type that these bytes have. */
export interface Picture {
  body: Buffer
  contentType: 'image/jpeg' | 'image/png' | 'image/webp'
}

const NOT_BASE64 = /[^A-Za-z0-9+/\-_=\s]/
const DATA_PREFIX = /^data:[^,]{0,200},/i

/**
 * Finds the picture in the body of a 200, in whatever form Segmind chose (SEGMIND.md, Response): the bytes themselves, JSON
 * `{"image":"<base64>"}`, a JSON string, or bare base64, each with or without a `data:` prefix. The declared content type
 * is not asked: the bytes tell. `undefined` when there is none.
 */
export function readPicture(body: Buffer): Picture | undefined {
  const picture = sniff(body)
  if (picture) return picture
  const text = base64Of(body.toString('utf8').trim())?.trim().replace(DATA_PREFIX, '')
  return text === undefined || NOT_BASE64.test(text) ? undefined : sniff(Buffer.from(text, 'base64'))
}

/** The base64 text inside of a JSON answer, or the text itself where it is no JSON. */
function base64Of(text: string): string | undefined {
  if (!text.startsWith('{') && !text.startsWith('"')) return text
  try {
    const value: unknown = JSON.parse(text)
    if (typeof value === 'string') return value
    const image = (value as { image?: unknown }).image
    return typeof image === 'string' ? image : undefined
  } catch {
    return undefined
  }
}

function sniff(body: Buffer): Picture | undefined {
  const type = imageTypeOf([body])
  return type && { body, contentType: `image/${type}` }
}
