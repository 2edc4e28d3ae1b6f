import type { LedgerStep, StepSpool } from '../../storage.js'
import { openEnvironment, prepareFolder } from './environment.js'

const SPOOL_MAP_BYTES = 2 ** 30

/**
 * Opens `spool.mdb` in a folder: ledger steps that wait for Redis, on this machine's disk. All processes of the machine that are given the folder share
 * it, and what one of them leaves when it is killed another one does. Throws a plain `Error` when the folder cannot be used.
 */
export function openDiskSpool({ dir }: { dir: string }): StepSpool {
  prepareFolder(dir)
  const environment = openEnvironment(dir, 'spool', SPOOL_MAP_BYTES)
  const steps = environment.root.openDB<LedgerStep, number>('steps', {})
  /** The last number in use, which no other step gets even when its own is gone. */
  const last = environment.root.openDB<number, string>('last', {})
  return {
    async add(step) {
      await environment.write(() => {
        const id = (last.get('id') ?? 0) + 1
        last.put('id', id)
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
