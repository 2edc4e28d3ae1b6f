import type { FastifyBaseLogger } from 'fastify'
import type { PurgeLog } from '../cache/purge-log.js'
import type { ResultCache } from '../cache/result-cache.js'
import type { StoreObserver } from '../contracts/observer.js'
import type { NewAuditEntry } from '../contracts/records.js'
import type { AuditLog } from '../operations/audit.js'
import { derivedKeysOf } from '../segment/shape.js'

/** Creates a recorder that logs each operator action at once, then writes it to the audit log. */
export function createAuditRecorder(audit: AuditLog, log: FastifyBaseLogger) {
  return (entry: NewAuditEntry): Promise<unknown> => {
    const { action, subject, by, name, address, requestId, details } = entry
    log.info({ action, subject, by, operator: name, address, requestId, details }, 'audit')
    return audit.add(entry)
  }
}

/** Purges a result and the forms derived from it, in every process. Rejects with `StoreError`. */
export async function purgeResult(resultId: string, results: ResultCache, purges: PurgeLog): Promise<boolean> {
  const { result } = await results.find(resultId, () => true)
  const keys = [resultId, ...(result ? derivedKeysOf(result) : [])]
  let isPurged = false
  for (const key of keys) isPurged = (await results.purge(key)) || isPurged
  await purges.append(...keys)
  return isPurged
}

/** Purges a result that turned out to be unusable. Never throws: a failure is reported. */
export async function dropResult(
  resultId: string,
  { results, purges, observer }: { results: ResultCache; purges: PurgeLog; observer: StoreObserver },
): Promise<void> {
  await purgeResult(resultId, results, purges).catch(error => observer.storeFailed(error, 'results: drop'))
}

/** Purges every result and returns the number that the store held. Rejects with `StoreError`. */
export async function purgeAllResults(results: ResultCache, purges: PurgeLog): Promise<number> {
  const purged = await results.purgeAll()
  await purges.append('*')
  return purged
}
