import type { LedgerStep, StepSpool } from '../storage.js'

/** Ledger steps that wait in memory: where there is no disk to write on, or it is the disk that fails. They end with the process. */
export function createMemorySpool(): StepSpool {
  const steps = new Map<string, LedgerStep>()
  let last = 0
  return {
    async add(step) {
      last++
      steps.set(String(last), step)
    },
    async all() {
      return [...steps].map(([id, step]) => ({ id, step }))
    },
    async remove(id) {
      steps.delete(id)
    },
    async close() {},
  }
}
