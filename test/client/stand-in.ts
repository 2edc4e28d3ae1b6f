import { once } from 'node:events'
import { createServer, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

export interface Received {
  method: string
  url: string
  headers: IncomingMessage['headers']
  body: Buffer
}

export type Reply = (response: ServerResponse, received: Received) => unknown

/** A server that answers each request with the next of the replies, and the last one ever after. */
export async function standIn(t: Test, ...replies: Reply[]) {
  const received: Received[] = []
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk)
    const { method = '', url = '', headers } = request
    const got = { method, url, headers, body: Buffer.concat(chunks) }
    const reply = replies[Math.min(received.push(got), replies.length) - 1]
    await reply?.(response, got)
  })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.closeAllConnections()
    server.close()
  })
  return { url: `http://127.0.0.1:${(server.address() as AddressInfo).port}`, received }
}

export function json(status: number, body: object, headers: Record<string, string> = {}): Reply {
  return response =>
    response.writeHead(status, { 'content-type': 'application/json', ...headers }).end(JSON.stringify(body))
}

/** A problem of the gateway's. */
export function problem(status: number, code: string, more: object = {}, headers: Record<string, string> = {}): Reply {
  const usual = { type: '', title: '', status, detail: `it was ${code}`, code, requestId: 'r', error: '' }
  return json(status, { ...usual, retryable: false, billed: 'no', ...more }, headers)
}

export const picture: Reply = response =>
  response
    .writeHead(200, {
      'content-type': 'image/jpeg',
      'x-cache': 'MISS',
      'x-cost': '0.0017',
      'x-result-id': 'a'.repeat(64),
    })
    .end('JPEG')

/** Breaks the connection without a word. */
export const broken: Reply = response => response.destroy()
