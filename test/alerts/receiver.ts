import { webcrypto } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type IncomingHttpHeaders, type IncomingMessage, type ServerResponse } from 'node:http'
import type { AddressInfo } from 'node:net'
import type { Test } from 'tap'

/** One received request. */
export interface Received {
  headers: IncomingHttpHeaders
  path: string
  body: string
  message: { type: string; timestamp: string; data: Record<string, unknown>; text: string }
}

/** A status, or a custom handler of the request. */
export type Answer = number | ((request: IncomingMessage, response: ServerResponse) => void)

export interface Receiver {
  url: string
  received: Received[]
  /** Responses to the next requests, in order. After them, `otherwise`. */
  answers: Answer[]
  otherwise: Answer
  /** Resolves once `count` requests have arrived. */
  until(count: number): Promise<void>
}

/** Starts a webhook receiver on a free loopback port. Its path must not appear in any output. */
export async function startReceiver(t: Test, answers: Answer[] = []): Promise<Receiver> {
  const changed = bell()
  const server = createServer(async (request, response) => {
    const chunks: Buffer[] = []
    for await (const chunk of request) chunks.push(chunk as Buffer)
    const body = Buffer.concat(chunks).toString()
    receiver.received.push({ headers: request.headers, path: `${request.url}`, body, message: JSON.parse(body) })
    const answer = receiver.answers.shift() ?? receiver.otherwise
    if (typeof answer === 'number') response.writeHead(answer).end()
    else answer(request, response)
    changed.ring()
  }).listen(0, '127.0.0.1')
  await once(server, 'listening')
  t.teardown(() => {
    server.close()
    server.closeAllConnections()
  })
  const receiver: Receiver = {
    url: `http://127.0.0.1:${(server.address() as AddressInfo).port}/services/T000/HIDDEN`,
    received: [],
    answers,
    otherwise: 200,
    async until(count) {
      while (receiver.received.length < count) await changed.rung()
    },
  }
  return receiver
}

/**
 * Verifies a signature as the specification describes it, independently of the library that signs.
 */
export async function isSigned(
  { headers, body }: Pick<Received, 'headers' | 'body'>,
  secret: string,
): Promise<boolean> {
  const bytes = Uint8Array.from(atob(secret.slice('whsec_'.length)), letter => letter.charCodeAt(0))
  const key = await webcrypto.subtle.importKey('raw', bytes, { name: 'HMAC', hash: 'SHA-256' }, false, ['verify'])
  const content = new TextEncoder().encode(`${headers['webhook-id']}.${headers['webhook-timestamp']}.${body}`)
  const signature = Uint8Array.from(atob(`${headers['webhook-signature']}`.slice(3)), letter => letter.charCodeAt(0))
  return webcrypto.subtle.verify('HMAC', key, signature, content)
}

/** Pauses that the test ends, or that end when their signal is aborted. */
export function stagedPauses() {
  const pauses: { ms: number; end(): void }[] = []
  const begun = bell()
  return {
    pauses,
    wait: (ms: number, signal: AbortSignal): Promise<void> =>
      new Promise(resolve => {
        pauses.push({ ms, end: resolve })
        if (signal.aborted) resolve()
        signal.addEventListener('abort', () => resolve(), { once: true })
        begun.ring()
      }),
    /** Resolves with the nth pause once it has begun. */
    async nth(number: number) {
      while (pauses.length < number) await begun.rung()
      return pauses[number - 1]!
    },
  }
}

/** Wakes all waiters at once. */
export function bell() {
  let waiting: (() => void)[] = []
  return {
    rung: () => new Promise<void>(resolve => waiting.push(resolve)),
    ring() {
      const those = waiting
      waiting = []
      for (const wake of those) wake()
    },
  }
}
