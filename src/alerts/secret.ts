import { randomBytes } from 'node:crypto'
import type { RecordStore } from '../storage.js'

export interface SigningSecretOptions {
  /** `ALERT_WEBHOOK_SECRET`. */
  given?: { reveal(): string } | undefined
  records: RecordStore
}

/** Where the one lies that was made: for ever, and in nobody else's way. */
export const SECRET_RECORD = 'alerts:secret'
const KEY_BYTES = 32

/**
 * The secret that alerts are signed with: the setting's, else one that whoever needs it first makes and all replicas find in the store.
 * Rejects with `StoreError` while that does not answer; asks it once.
 */
export function createSigningSecret({ given, records }: SigningSecretOptions): () => Promise<string> {
  let known = given?.reveal()
  return async () => {
    known ??= await sharedSecret(records)
    return known
  }
}

async function sharedSecret(records: RecordStore): Promise<string> {
  const made = `whsec_${randomBytes(KEY_BYTES).toString('base64')}`
  for (;;) {
    const found = await records.get(SECRET_RECORD)
    if (found) return found.value
    // Two replicas that start together both find none: the one that is refused here takes the other one's.
    if (await records.put(SECRET_RECORD, made, '')) return made
  }
}
