import type { Caller, Team } from '../../src/segment/types.js'

/** A team as the registry makes it, with whatever matters to the test. */
export function aTeam(changes: Partial<Team> = {}): Team {
  return {
    id: 'vision',
    name: 'Vision',
    protected: false,
    disabled: false,
    limits: { requestsPerMinute: 600, weight: 1 },
    ...changes,
  }
}

export function aCaller(changes: Partial<Team> = {}): Caller {
  return { team: aTeam(changes), keyId: 'k1' }
}
