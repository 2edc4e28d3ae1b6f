import type { LedgerStep, StepSpool } from '../../contracts/store.js'
import { openEnvironment, prepareFolder } from './environment.js'

const SPOOL_MAP_BYTES = 2 ** 30

/**
 * Opens `spool.mdb` in a folder: ledger steps that wait for Redis, on this machine's disk. All
 * processes that use the folder share it, so another process completes the steps of one that was
 * killed. Rejects with a plain `Error` if the folder cannot be used.
 */
export async function openDiskSpool({ dir }: { dir: string }): Promise<StepSpool> {
  prepareFolder(dir)
  const { environment, parts } = await openEnvironment(dir, 'spool', SPOOL_MAP_BYTES, ({ root }) => ({
    steps: root.openDB<LedgerStep, number>('steps', {}),
    /** The last id given out, kept so that no id is used twice. */
    lastId: root.openDB<number, string>('last', {}),
  }))
  const { steps, lastId } = parts
  return {
    async add(step) {
      await environment.write(() => {
        const id = (lastId.get('id') ?? 0) + 1
        lastId.put('id', id)
        steps.put(id, step)
      })
    },
    async all() {
      return environment.read(() => [...steps.getRange()].map(({ key, value }) => ({ id: String(key), step: value })))
    },
    async remove(id) {
      await environment.write(() => void steps.remove(Number(id)))
    },
    close: () => environment.close(),
  }
}
