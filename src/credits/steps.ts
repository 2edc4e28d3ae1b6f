import type { LedgerStep, LedgerStore } from '../storage.js'

/** Does one step of the ledger, at once or long after it was written down. Rejects as the store does. */
export async function doStep(store: LedgerStore, step: LedgerStep): Promise<void> {
  switch (step.kind) {
    case 'reserve':
      // The call has been made: no budget can refuse it any more.
      await store.reserve(step.call, {})
      return
    case 'note':
      return store.note(step.call)
    case 'settle':
      await store.settle(step.call, step.settled)
      return
    case 'release':
      return store.release(step.call, { mayStillArrive: step.mayStillArrive })
  }
}
