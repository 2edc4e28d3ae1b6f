import { imageTypeOf } from '../images/image-type.js'

/** A picture and the content type detected from its bytes. */
export interface Picture {
  body: Buffer
  contentType: 'image/jpeg' | 'image/png' | 'image/webp'
}

const NOT_BASE64 = /[^A-Za-z0-9+/\-_=\s]/
const DATA_PREFIX = /^data:[^,]{0,200},/i

/**
 * Reads the picture from the body of a 200 (docs/segmind.md, Response): raw bytes, JSON
 * `{"image":"<base64>"}`, a JSON string or bare base64, the text forms with or without a `data:`
 * prefix. Ignores the declared content type and decides by the bytes. Returns `undefined` when
 * there is no picture.
 */
export function readPicture(body: Buffer): Picture | undefined {
  const picture = sniff(body)
  if (picture) return picture
  const text = base64Of(body.toString('utf8').trim())?.trim().replace(DATA_PREFIX, '')
  return text === undefined || NOT_BASE64.test(text) ? undefined : sniff(Buffer.from(text, 'base64'))
}

/** Returns the base64 text inside JSON, or the text itself when it is not JSON. */
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
