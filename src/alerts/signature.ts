import { createHmac } from 'node:crypto'

/** What is signed of one attempt to deliver a message. */
export interface SignedParts {
  /** The same for every attempt at one message: receivers tell repeated ones by it. */
  id: string
  /** When this attempt is made, milliseconds since 1970. */
  at: number
  /** The bytes that go out are the ones that are signed. */
  body: string
  /** `whsec_` and the key in base64. */
  secret: string
}

/** The headers that prove where a message comes from (Standard Webhooks 1.0): HMAC-SHA256 over `id.timestamp.body`, the time in seconds. */
export function signatureHeaders({ id, at, body, secret }: SignedParts): Record<string, string> {
  const timestamp = Math.floor(at / 1000)
  const key = Buffer.from(secret.replace(/^whsec_/, ''), 'base64')
  const signature = createHmac('sha256', key).update(`${id}.${timestamp}.${body}`).digest('base64')
  return { 'webhook-id': id, 'webhook-timestamp': `${timestamp}`, 'webhook-signature': `v1,${signature}` }
}
