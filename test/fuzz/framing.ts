import type { Random } from '../support/random.js'
import type { FuzzRequest } from './wire.js'

/** A body with the headers of its request. */
export interface Message {
  path: string
  /** Default: JSON. */
  type?: string
  body: Buffer
  headers?: [name: string, value: string][]
}

/** Creates `POST` with a body and its length. */
export function posted({ path, type = 'application/json', body, headers = [] }: Message): FuzzRequest {
  const own: [string, string][] = [
    ['host', 'x'],
    ['connection', 'close'],
    ['content-type', type],
    ['content-length', String(body.length)],
  ]
  return { method: 'POST', path, headers: [...own, ...headers], body }
}

/** True where the framing of HTTP carries exactly this body. */
export function isExact({ headers }: FuzzRequest, body: Buffer): boolean {
  const length = headers.find(([name]) => name === 'content-length')?.[1]
  return length === undefined || Number(length) === body.length
}

/** Creates `POST` with a body, in one of the framings of HTTP. */
export function framed(random: Random, message: Message): FuzzRequest {
  const { body } = message
  const exact = posted(message)
  const common = exact.headers.filter(([name]) => name !== 'content-length')
  if (random.chance(0.2)) {
    const size = random.pick([1, 7, 100, 5_000])
    const count = body.length > 1_000 * size ? 1 : Math.ceil(body.length / size)
    const pieces = Array.from({ length: count }, (_, index) =>
      count === 1 ? body : body.subarray(index * size, (index + 1) * size),
    )
    const chunked = pieces.filter(piece => piece.length > 0).flatMap(toChunk)
    const all = Buffer.concat([...chunked, Buffer.from('0\r\n\r\n')])
    return { ...exact, headers: [...common, ['transfer-encoding', 'chunked']], body: all }
  }
  const wrongBy = random.chance(0.05) ? random.pick([-1, 1, -20, 20, 100_000]) : 0
  const length = Math.max(0, body.length + wrongBy)
  return { ...exact, headers: [...common, ['content-length', String(length)]], isCut: length > body.length }
}

function toChunk(piece: Buffer): Buffer[] {
  return [Buffer.from(`${piece.length.toString(16)}\r\n`), piece, Buffer.from('\r\n')]
}
