import type { Caller, Team } from '../../../src/contracts/types.js'

/** Creates a team as the registry does, with the given members. */
export function aTeam(changes: Partial<Team> = {}): Team {
  return {
    id: 'vision',
    name: 'Vision',
    protected: false,
    disabled: false,
    limits: { requestsPerMinute: 600, readsPerMinute: 6000, weight: 1 },
    ...changes,
  }
}

export function aCaller(changes: Partial<Team> = {}): Caller {
  return { team: aTeam(changes), keyId: 'k1' }
}
