import { userInfo } from 'node:os'
import type { Settings } from '../config/index.js'
import type { Clock } from '../contracts/clock.js'
import type { AuditedChange } from '../contracts/records.js'
import type { Store } from '../contracts/store.js'
import { AuditLog } from '../operations/audit.js'
import type { CliIo, OpenStore } from './io.js'

/**
 * Records a completed command in the audit log. Never rejects: a failure is reported on stderr, and
 * the command stays done.
 */
export async function recordAudit(
  change: AuditedChange,
  store: Pick<Store, 'records'>,
  io: CliIo,
  now: Clock,
): Promise<void> {
  let failure: unknown
  const audit = new AuditLog({
    records: store.records,
    now,
    observer: {
      storeFailed(error) {
        failure = error
      },
    },
  })
  await audit.add({ by: 'cli', ...currentUser(), ...change })
  await audit.close()
  if (audit.unsaved.length > 0) reportFailure(io, failure)
}

/** Records a completed command that has no open store. */
export async function openAndRecordAudit(
  settings: Pick<Settings, 'store'>,
  change: AuditedChange,
  { openStore, io, now }: { openStore: OpenStore | undefined; io: CliIo; now: Clock },
): Promise<void> {
  if (!openStore) return
  try {
    const store = await openStore(settings)
    try {
      await recordAudit(change, store, io, now)
    } finally {
      await store.close()
    }
  } catch (error) {
    reportFailure(io, error)
  }
}

function reportFailure(io: CliIo, error: unknown): void {
  const reason = error instanceof Error ? error.message : 'unknown reason'
  io.stderr(`The change was made but not recorded in the audit log: ${reason}`)
}

/** Returns the name of the current user. A user in a container may have none. */
function currentUser(): { name?: string } {
  try {
    return { name: userInfo().username }
  } catch {
    return {}
  }
}
