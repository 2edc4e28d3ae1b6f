import { createHash } from 'node:crypto'
import sharp from 'sharp'

/** A request as it is sent: its head, up to the empty line, and its body. */
export interface Body {
  head: string
  content: Buffer
}

export const PHOTO = { width: 640, height: 480 }
const KILOBYTE = 1_000
const BOUNDARY = 'b'
const MULTIPART = `multipart/form-data; boundary=${BOUNDARY}`
const END = `\r\n--${BOUNDARY}--\r\n`
const COUNTER_BYTES = 8

/** A multipart upload of a JPEG, with bytes behind the picture up to the wanted size. */
export async function upload(kilobytes: number, key: string): Promise<Body> {
  const jpeg = await sharp({ create: { ...PHOTO, channels: 3, background: 'teal' } })
    .jpeg()
    .toBuffer()
  const part = (rest: string) => `--${BOUNDARY}\r\ncontent-disposition: form-data; ${rest}\r\n`
  const content = Buffer.concat([
    Buffer.from(`${part('name="prompt"')}\r\ndog\r\n`),
    Buffer.from(`${part('name="image"; filename="a.jpg"')}content-type: image/jpeg\r\n\r\n`),
    jpeg,
    Buffer.alloc(kilobytes * KILOBYTE - jpeg.length),
    Buffer.from(END),
  ])
  return request('/segment', { key, type: MULTIPART, content })
}

/** Position of the last 8 bytes of an upload's image. */
export function counterIn({ head, content }: Body): number {
  return head.length + content.lastIndexOf(END) - COUNTER_BYTES
}

export function json(path: string, key: string, body: unknown): Body {
  return request(path, { key, type: 'application/json', content: Buffer.from(JSON.stringify(body)) })
}

/** The upload, with the digest of its body. */
export function withDigest({ head, content }: Body): Body {
  return { head: addHeader(head, `content-digest: ${digestOf(content)}`), content }
}

/** The head of an upload whose body is held back until `100 Continue`. */
export function withoutBody(body: Body): Body {
  return { head: addHeader(withDigest(body).head, 'expect: 100-continue'), content: Buffer.alloc(0) }
}

function addHeader(head: string, line: string): string {
  return `${head.slice(0, -2)}${line}\r\n\r\n`
}

function digestOf(content: Buffer): string {
  return `sha-256=:${createHash('sha256').update(content).digest('base64')}:`
}

function request(path: string, { key, type, content }: { key: string; type: string; content: Buffer }): Body {
  const lines = [`POST ${path} HTTP/1.1`, 'host: 127.0.0.1', `x-api-key: ${key}`, `content-type: ${type}`]
  return { head: `${[...lines, `content-length: ${content.length}`].join('\r\n')}\r\n\r\n`, content }
}
