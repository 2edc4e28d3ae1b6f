import { randomBytes } from 'node:crypto'
import { createSharedSecret } from '../shared-secret.js'
import type { RecordStore } from '../storage.js'

export interface SigningSecretOptions {
  /** `ALERT_WEBHOOK_SECRET`. */
  given?: { reveal(): string } | undefined
  records: RecordStore
}

/** Where the one lies that was made: for ever, and in nobody else's way. */
export const SECRET_RECORD = 'alerts:secret'
const KEY_BYTES = 32

/** The secret that alerts are signed with: the setting's, else one that all replicas share. Rejects with `StoreError`. */
export function createSigningSecret({ given, records }: SigningSecretOptions): () => Promise<string> {
  const shared = createSharedSecret(records, SECRET_RECORD, () => `whsec_${randomBytes(KEY_BYTES).toString('base64')}`)
  return async () => given?.reveal() ?? shared()
}
