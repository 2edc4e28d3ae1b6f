import type { AccountBook, LedgerStep, LedgerStore } from '../storage.js'

/** Does one step of the ledger, at once or long after it was written down; answers the account after a call was settled. Rejects as the store does. */
export async function doStep(store: LedgerStore, step: LedgerStep): Promise<AccountBook | undefined> {
  switch (step.kind) {
    case 'reserve':
      // The call has been made: no budget can refuse it any more.
      await store.reserve(step.call, {})
      return undefined
    case 'note':
      await store.note(step.call)
      return undefined
    case 'settle':
      return store.settle(step.call, step.settled)
    case 'release':
      await store.release(step.call, { mayStillArrive: step.mayStillArrive })
      return undefined
  }
}
