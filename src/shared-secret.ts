import type { RecordStore } from './storage.js'

/**
 * A secret that all replicas share: whoever needs it first makes it, and the store keeps it for ever. Rejects with `StoreError` while that does
 * not answer; asks it once.
 */
export function createSharedSecret(records: RecordStore, name: string, make: () => string): () => Promise<string> {
  let known: string | undefined
  return async () => {
    known ??= await findOrMake(records, name, make())
    return known
  }
}

async function findOrMake(records: RecordStore, name: string, made: string): Promise<string> {
  for (;;) {
    const found = await records.get(name)
    if (found) return found.value
    // Two replicas that start together both find none: the one that is refused here takes the other one's.
    if (await records.put(name, made, '')) return made
  }
}
