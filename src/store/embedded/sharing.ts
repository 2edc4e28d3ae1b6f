import type { SharedUse } from '../../storage.js'
import { checkAmounts } from '../totals.js'
import type { Environment } from './environment.js'

interface Sharers {
  boughtAt: number
  /** The payer first. */
  teams: string[]
  expiresAt: number
}

export interface EmbeddedSharing {
  share(use: SharedUse): Promise<void>
  purge(): Promise<void>
}

const PURGE_BATCH = 500

/** Who shares which purchase; `add` books a transfer on a day of a team, inside the same transaction. */
export function createSharing(
  environment: Environment,
  now: () => number,
  add: (of: { day: string; team: string }, amount: number) => void,
): EmbeddedSharing {
  const purchases = environment.root.openDB<Sharers, string>('sharing', {})
  const share = ({ resultId, boughtAt, payer, cost, team, day, ttlSeconds }: SharedUse): void => {
    const known = purchases.get(resultId)
    const before = known && known.expiresAt > now() ? known : undefined
    if (before && before.boughtAt > boughtAt) return
    const teams = before?.boughtAt === boughtAt ? before.teams : [payer]
    if (teams.includes(team)) return
    const n = teams.length
    const was = Math.floor(cost / n)
    const is = Math.floor(cost / (n + 1))
    for (const other of teams.slice(1)) add({ day, team: other }, is - was)
    add({ day, team }, is)
    add({ day, team: teams[0] ?? payer }, (n - 1) * was - n * is)
    purchases.put(resultId, { boughtAt, teams: [...teams, team], expiresAt: now() + ttlSeconds * 1000 })
  }
  return {
    async share(use) {
      checkAmounts({ boughtAt: use.boughtAt, cost: use.cost, ttlSeconds: use.ttlSeconds })
      await environment.write(() => share(use))
    },
    async purge() {
      const isOver = ({ expiresAt }: Sharers) => expiresAt <= now()
      const over = environment.read(() => [...purchases.getRange().filter(({ value }) => isOver(value))])
      for (let from = 0; from < over.length; from += PURGE_BATCH)
        await environment.write(() => {
          for (const { key } of over.slice(from, from + PURGE_BATCH)) {
            const sharers = purchases.get(key)
            if (sharers && isOver(sharers)) purchases.remove(key)
          }
        })
    },
  }
}
