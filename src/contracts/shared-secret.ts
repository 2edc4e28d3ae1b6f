import type { RecordStore } from './store.js'

/**
 * Builds the reader of a secret that all replicas share. The first replica that needs it generates
 * it, and the store keeps it without expiry. Rejects with `StoreError` while the store does not
 * respond; reads the store once.
 */
export function createSharedSecret(records: RecordStore, name: string, generate: () => string): () => Promise<string> {
  let known: string | undefined
  return async () => {
    known ??= await findOrCreate(records, name, generate())
    return known
  }
}

async function findOrCreate(records: RecordStore, name: string, generated: string): Promise<string> {
  for (;;) {
    const found = await records.get(name)
    if (found) return found.value
    // Two replicas that start together both find none. The one whose write is refused reads the
    // other's secret.
    if (await records.put(name, generated, '')) return generated
  }
}
