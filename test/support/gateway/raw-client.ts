import { once } from 'node:events'
import { type IncomingHttpHeaders, request } from 'node:http'
import { connect } from 'node:net'

/** A response as received: not decoded, redirects not followed. */
export interface Answer {
  status: number
  headers: IncomingHttpHeaders
  body: Buffer
  json(): Record<string, unknown>
}

export interface RawRequest {
  method?: string
  headers?: Record<string, string>
  body?: Buffer | string
}

/**
 * Sends one request on a new connection with only these headers, `host`, `connection` and
 * `content-length`.
 */
export function ask(url: string, { method = 'GET', headers = {}, body }: RawRequest = {}): Promise<Answer> {
  const { hostname, port } = new URL(url)
  // Not through `URL`, which would normalise the path.
  const path = url.slice(new URL(url).origin.length) || '/'
  return new Promise((resolve, reject) => {
    const length = body === undefined ? {} : { 'content-length': String(Buffer.byteLength(body)) }
    const options = { hostname, port, path, method, agent: false, headers: { ...length, ...headers } }
    const outgoing = request(options, async incoming => {
      const chunks: Buffer[] = []
      for await (const chunk of incoming) chunks.push(chunk)
      const all = Buffer.concat(chunks)
      const json = () => JSON.parse(all.toString('utf8'))
      resolve({ status: incoming.statusCode ?? 0, headers: incoming.headers, body: all, json })
    })
    outgoing.once('error', reject)
    outgoing.end(body)
  })
}

/** A connection on which a test writes any bytes. */
export interface RawClient {
  send(bytes: string | Buffer): void
  /**
   * Resolves with all received text once it matches the pattern. Rejects if the connection ends
   * before.
   */
  until(pattern: RegExp): Promise<string>
  /** Resolves with all received text once the other side has closed. */
  ended: Promise<string>
  /** Ends the sending side of the connection. */
  end(): void
  /** Destroys the connection. */
  destroy(): void
}

export async function connectTo(url: string, localAddress?: string): Promise<RawClient> {
  const { hostname, port } = new URL(url)
  const host = hostname.replace(/^\[|\]$/g, '')
  const socket = connect({ host, port: Number(port), allowHalfOpen: true, ...(localAddress && { localAddress }) })
  await once(socket, 'connect')
  let received = ''
  socket.setEncoding('latin1').on('data', text => {
    received += text
  })
  // The other side resets the connection after its response when it reads no further.
  socket.on('error', () => {})
  const ended = new Promise<string>(resolve => {
    const finish = () => resolve(received)
    socket.once('end', finish).once('close', finish)
  })
  return {
    send: bytes => void socket.write(bytes),
    async until(pattern) {
      while (!pattern.test(received)) {
        if (socket.readableEnded || socket.destroyed) throw new Error(`the connection ended after: ${received}`)
        await Promise.race([once(socket, 'data'), ended])
      }
      return received
    },
    ended,
    end: () => void socket.end(),
    destroy: () => void socket.destroy(),
  }
}
