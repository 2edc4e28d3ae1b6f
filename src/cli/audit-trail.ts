import { userInfo } from 'node:os'
import type { Settings } from '../config.js'
import { AuditLog } from '../operations/audit.js'
import type { Store } from '../storage.js'
import type { CliIo } from './io.js'

/** Opens the store that the settings name; `main.ts` knows the stores. */
export type OpenStore = (settings: Pick<Settings, 'store'>) => Promise<Store>

export interface Done {
  action: string
  subject: string
  details?: Record<string, unknown>
}

/** Takes down in an open store what a command has done. Never rejects: what is done is done, and people are told that it is not in the log. */
export async function takeDown(done: Done, store: Pick<Store, 'records'>, io: CliIo, now: () => number): Promise<void> {
  let failure: unknown
  const audit = new AuditLog({
    records: store.records,
    now,
    onStoreFailure: error => {
      failure = error
    },
  })
  await audit.add({ by: 'cli', ...whoRuns(), ...done })
  await audit.close()
  if (audit.unsaved.length > 0) complain(io, failure)
}

/** The same of a command that needs no store itself. */
export async function takeDownIn(
  settings: Pick<Settings, 'store'>,
  done: Done,
  { openStore, io, now }: { openStore: OpenStore | undefined; io: CliIo; now(): number },
): Promise<void> {
  if (!openStore) return
  try {
    const store = await openStore(settings)
    try {
      await takeDown(done, store, io, now)
    } finally {
      await store.close()
    }
  } catch (error) {
    complain(io, error)
  }
}

function complain(io: CliIo, error: unknown): void {
  const reason = error instanceof Error ? error.message : 'unknown reason'
  io.stderr(`It is done, but not in the audit log: ${reason}`)
}

/** Whoever is logged in; a container's user may have no name. */
function whoRuns(): { name?: string } {
  try {
    return { name: userInfo().username }
  } catch {
    return {}
  }
}
