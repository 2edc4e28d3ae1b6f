import { randomBytes } from 'node:crypto'
import { createSharedSecret } from '../contracts/shared-secret.js'
import type { RecordStore } from '../contracts/store.js'

export interface SigningSecretOptions {
  /** `ALERT_WEBHOOK_SECRET`. */
  given?: { reveal(): string } | undefined
  records: RecordStore
}

/** Record key of the generated secret. The record never expires. */
export const SECRET_RECORD = 'alerts:secret'
const KEY_BYTES = 32

/**
 * Builds the reader of the signing secret: `ALERT_WEBHOOK_SECRET`, else a generated one that all
 * replicas share. Rejects with `StoreError`.
 */
export function createSigningSecret({ given, records }: SigningSecretOptions): () => Promise<string> {
  const shared = createSharedSecret(records, SECRET_RECORD, () => `whsec_${randomBytes(KEY_BYTES).toString('base64')}`)
  return async () => given?.reveal() ?? shared()
}
