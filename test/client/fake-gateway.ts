import { once } from 'node:events'
import { createServer, type IncomingMessage, type RequestListener, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'
import { createClient } from '../../src/client/index.js'

export const ID = `sha256:${'b'.repeat(64)}`
export const RESULT = 'a'.repeat(64)

export interface Received {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: Buffer
}

export type Reply = (response: ServerResponse, received: Received) => unknown

/** Starts a server for the duration of the test. Returns its URL. */
export async function startServer(t: Test, listener: RequestListener): Promise<string> {
  const server = createServer(listener)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return `http://127.0.0.1:${(server.address() as AddressInfo).port}`
}

/**
 * Starts a server that sends the replies in order and repeats the last one. Incomplete requests get
 * no reply.
 */
export async function fakeGateway(t: Test, ...replies: Reply[]) {
  const received: Received[] = []
  const url = await startServer(t, async (request, response) => {
    const chunks: Buffer[] = []
    try {
      for await (const chunk of request) chunks.push(chunk)
    } catch {
      return
    }
    const { method = '', url = '', headers } = request
    const got = { method, url, headers, body: Buffer.concat(chunks) }
    const reply = replies[Math.min(received.push(got), replies.length) - 1]
    await reply?.(response, got)
  })
  return { url, received }
}

/** Creates a client that records its waits, in milliseconds, instead of waiting. */
export function clientOf(url: string, more: object = {}) {
  const waits: number[] = []
  const wait = async (ms: number, signal: AbortSignal | undefined) => {
    waits.push(Math.round(ms))
    signal?.throwIfAborted()
  }
  return { waits, client: createClient({ url, key: 'SG_gw', wait, ...more }) }
}

export function json(status: number, body: object, headers: Record<string, string> = {}): Reply {
  return response =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

/** Replies with a problem. */
export function problem(status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Reply {
  const usual = { type: '', title: '', status, detail: `detail of ${code}`, code, requestId: 'r', error: '' }
  return json(status, { ...usual, retryable: false, billed: 'no', ...more }, headers)
}

const PICTURE_HEADERS = {
  'content-type': 'image/jpeg',
  'x-cache': 'MISS',
  'x-cost': '0.0017',
  'x-result-id': RESULT,
}

export const picture: Reply = response => response.writeHead(200, PICTURE_HEADERS).end('JPEG')

/** Closes the connection without a response. */
export const broken: Reply = response => response.destroy()

/** Closes the connection in the middle of a result. */
export const cutShort: Reply = response => {
  response.writeHead(200, { ...PICTURE_HEADERS, 'content-length': '4' })
  response.write('JP', () => response.destroy())
}

/** Parses a received form. */
export function formOf({ body, headers }: Received): Promise<FormData> {
  const type = headers['content-type'] ?? ''
  return new Response(new Uint8Array(body), { headers: { 'content-type': type } }).formData()
}
