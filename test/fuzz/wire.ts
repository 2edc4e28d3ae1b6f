import { connect } from 'node:net'
import { gunzipSync } from 'node:zlib'
import type { Answer } from '../support/gateway/raw-client.js'

/** A request as the bytes of its parts, so that it may be one that no HTTP client would send. */
export interface FuzzRequest {
  method: string
  path: string
  /** The path as in openapi.yaml. Default: `path` without its query. */
  template?: string
  /** Sent in latin1, in this order, without any other header. */
  headers: [name: string, value: string][]
  body?: Buffer
  /** Ends the sending half after the last byte, because the body may be shorter than announced. */
  isCut?: boolean
}

export interface Exchanged {
  /** All bytes that arrived. */
  raw: Buffer
  /** Undefined if no complete answer arrived. */
  answer?: Answer
}

/** Longest wait for an answer. Only a request that hangs reaches it. */
const HANG_MS = 30_000
const HEAD_END = '\r\n\r\n'
const STREAM = 'text/event-stream'
/** Matches within the head only: a body may mention the type. */
const STREAM_HEAD = /^(?:[^\r\n]+\r\n)*content-type: text\/event-stream/i

/** Sends a request on a new connection and reads until the gateway ends it. */
export function exchange(url: string, request: FuzzRequest): Promise<Exchanged> {
  const { hostname, port } = new URL(url)
  return new Promise((resolve, reject) => {
    const socket = connect({ host: hostname, port: Number(port), allowHalfOpen: true })
    const chunks: Buffer[] = []
    let isStream = false
    const finish = () => {
      clearTimeout(timer)
      socket.destroy()
      const raw = Buffer.concat(chunks)
      try {
        const answer = parseAnswer(raw, request.method)
        resolve({ raw, ...(answer && { answer }) })
      } catch (error) {
        reject(error)
      }
    }
    const timer = setTimeout(() => {
      socket.destroy()
      reject(new Error(`the request got no complete answer within ${HANG_MS / 1000} s`))
    }, HANG_MS)
    socket.on('data', chunk => {
      chunks.push(chunk)
      // An answer without an end: its first bytes are enough.
      isStream ||= chunks.length === 1 && STREAM_HEAD.test(chunk.toString('latin1'))
      const received = isStream ? Buffer.concat(chunks) : Buffer.alloc(0)
      if (isStream && received.length > received.indexOf(HEAD_END) + HEAD_END.length) finish()
    })
    // The gateway may close before it has read everything.
    socket.on('error', () => {})
    socket.once('end', finish).once('close', finish)
    socket.write(headOf(request), 'latin1')
    if (request.body) socket.write(request.body)
    if (request.isCut) socket.end()
  })
}

function headOf({ method, path, headers }: FuzzRequest): string {
  return `${method} ${path} HTTP/1.1\r\n${headers.map(([name, value]) => `${name}: ${value}\r\n`).join('')}\r\n`
}

/** Parses the first final answer. Throws where it is not well-formed HTTP. */
function parseAnswer(raw: Buffer, method: string): Answer | undefined {
  const end = raw.indexOf(HEAD_END)
  if (end < 0) return undefined
  const [line = '', ...fields] = raw.toString('latin1', 0, end).split('\r\n')
  const rest = raw.subarray(end + HEAD_END.length)
  const status = Number(/^HTTP\/1\.1 (\d{3}) /.exec(line)?.[1] ?? Number.NaN)
  if (Number.isNaN(status)) throw new Error(`the answer begins with ${JSON.stringify(line.slice(0, 80))}`)
  if (status < 200) return parseAnswer(rest, method)
  const headers: Record<string, string> = {}
  for (const field of fields) {
    const [, name = '', value = ''] = /^([\w-]+): ?(.*)$/.exec(field) ?? []
    if (name === '') throw new Error(`the answer has the header ${JSON.stringify(field.slice(0, 80))}`)
    headers[name.toLowerCase()] = value
  }
  const isBodyless = method === 'HEAD' || status === 204 || status === 304
  const body = isBodyless ? Buffer.alloc(0) : headers['content-type']?.startsWith(STREAM) ? rest : bodyOf(rest, headers)
  if (!body) return undefined
  const content = headers['content-encoding'] === 'gzip' && body.length > 0 ? gunzipSync(body) : body
  return { status, headers, body: content, json: () => JSON.parse(content.toString('utf8')) }
}

/** Returns the body, or undefined if it is not complete. */
function bodyOf(rest: Buffer, headers: Record<string, string>): Buffer | undefined {
  if (headers['transfer-encoding'] !== 'chunked') {
    const length = Number(headers['content-length'] ?? Number.NaN)
    if (Number.isNaN(length)) throw new Error('the answer has neither a length nor chunks')
    return rest.length < length ? undefined : rest.subarray(0, length)
  }
  const chunks: Buffer[] = []
  for (let at = 0; ; ) {
    const lineEnd = rest.indexOf('\r\n', at)
    const size = Number.parseInt(rest.toString('latin1', at, Math.max(at, lineEnd)), 16)
    if (lineEnd < 0 || rest.length < lineEnd + 2 + size + 2) return undefined
    if (Number.isNaN(size)) throw new Error('the answer has a chunk without a size')
    if (size === 0) return Buffer.concat(chunks)
    chunks.push(rest.subarray(lineEnd + 2, lineEnd + 2 + size))
    at = lineEnd + 2 + size + 2
  }
}

const SHOWN = 300

/** Describes a request on a few lines. */
export function describeRequest(request: FuzzRequest): string {
  const head = JSON.stringify(headOf(request).replaceAll('\r\n', '⏎'))
  const body = request.body ?? Buffer.alloc(0)
  const shorten = (text: string) => (text.length > 3 * SHOWN ? `${text.slice(0, SHOWN)} … ${text.slice(-SHOWN)}` : text)
  const bytes = JSON.stringify(shorten(body.toString('latin1').replace(/[A-Za-z0-9+/=]{400,}/g, '<base64>')))
  return `${shorten(head)}\n      body of ${body.length} bytes${request.isCut ? ', then cut off' : ''}: ${bytes}`
}
