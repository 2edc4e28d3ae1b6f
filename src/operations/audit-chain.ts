import { createHash } from 'node:crypto'
import type { AuditEntry } from '../contracts/records.js'
import type { RecordStore } from '../contracts/store.js'

export const AUDIT_HEAD = 'audit:head'

/** An entry as stored. It carries the digest of the stored text of the entry before it. */
export type ChainedEntry = AuditEntry & { previous?: string }

export function auditKey(seq: number): string {
  return `audit:${seq}`
}

export function digestOf(text: string): string {
  return createHash('sha256').update(text).digest('hex')
}

const BATCH = 100

/**
 * Reads the whole audit log, oldest first, and lists where it does not follow itself: a missing
 * entry, or one that does not carry the digest of the one before. Entries of versions before the
 * chain come first and carry none. Rejects with `StoreError`.
 */
export async function readAuditChain(records: RecordStore): Promise<{ entries: ChainedEntry[]; problems: string[] }> {
  const head = Number((await records.get(AUDIT_HEAD))?.value ?? 0)
  const entries: ChainedEntry[] = []
  const problems: string[] = []
  let before = ''
  let isChained = false
  for (let start = 1; ; start += BATCH) {
    const positions = Array.from({ length: BATCH }, (_, index) => start + index)
    const texts = await Promise.all(positions.map(async seq => (await records.get(auditKey(seq)))?.value))
    for (const [index, text] of texts.entries()) {
      const seq = start + index
      if (text === undefined) {
        if (seq > head) return { entries, problems }
        problems.push(`audit entry ${seq} is missing`)
        isChained = false
        continue
      }
      const entry = JSON.parse(text) as ChainedEntry
      const isFollowing = entry.previous === digestOf(before)
      if (isChained && !isFollowing)
        problems.push(`audit entry ${seq} does not follow entry ${seq - 1}, or that was altered`)
      isChained = isChained || isFollowing
      before = text
      entries.push(entry)
    }
  }
}
