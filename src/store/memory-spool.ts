import type { LedgerStep, StepSpool } from '../contracts/store.js'

/**
 * Creates a spool in memory, for processes without a writable disk. Its steps are lost when the
 * process ends.
 */
export function createMemorySpool(): StepSpool {
  const steps = new Map<string, LedgerStep>()
  let lastId = 0
  return {
    async add(step) {
      lastId++
      steps.set(String(lastId), step)
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
