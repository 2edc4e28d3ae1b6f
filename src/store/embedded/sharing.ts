import type { Clock } from '../../contracts/clock.js'
import type { SharedUse } from '../../contracts/store.js'
import { checkAmounts } from '../totals.js'
import type { Environment } from './environment.js'

interface StoredPurchase {
  boughtAt: number
  /** Teams that share the purchase, the payer first. */
  teams: string[]
  expiresAt: number
}

export interface EmbeddedSharing {
  share(use: SharedUse): Promise<void>
  /** Deletes expired purchases. */
  purge(): Promise<void>
}

const PURGE_BATCH = 500

/**
 * Creates `LedgerStore.share`. `addTransfer` books a transfer on a team's day, inside the same
 * transaction.
 */
export function createSharing(
  environment: Environment,
  now: Clock,
  addTransfer: (day: { day: string; team: string }, amount: number) => void,
): EmbeddedSharing {
  const purchases = environment.root.openDB<StoredPurchase, string>('sharing', {})
  const share = ({ resultId, boughtAt, payer, cost, team, day, ttlSeconds }: SharedUse): void => {
    const stored = purchases.get(resultId)
    const known = stored && stored.expiresAt > now() ? stored : undefined
    if (known && known.boughtAt > boughtAt) return
    const teams = known?.boughtAt === boughtAt ? known.teams : [payer]
    if (teams.includes(team)) return
    const n = teams.length
    const oldPart = Math.floor(cost / n)
    const newPart = Math.floor(cost / (n + 1))
    for (const other of teams.slice(1)) addTransfer({ day, team: other }, newPart - oldPart)
    addTransfer({ day, team }, newPart)
    addTransfer({ day, team: teams[0] ?? payer }, (n - 1) * oldPart - n * newPart)
    purchases.put(resultId, { boughtAt, teams: [...teams, team], expiresAt: now() + ttlSeconds * 1000 })
  }
  return {
    async share(use) {
      checkAmounts({ boughtAt: use.boughtAt, cost: use.cost, ttlSeconds: use.ttlSeconds })
      await environment.write(() => share(use))
    },
    async purge() {
      const isExpired = ({ expiresAt }: StoredPurchase) => expiresAt <= now()
      const expired = environment.read(() => [...purchases.getRange().filter(({ value }) => isExpired(value))])
      for (let start = 0; start < expired.length; start += PURGE_BATCH)
        await environment.write(() => {
          for (const { key } of expired.slice(start, start + PURGE_BATCH)) {
            const purchase = purchases.get(key)
            if (purchase && isExpired(purchase)) purchases.remove(key)
          }
        })
    },
  }
}
