/**
 * Responses of the operator API, reduced to what this page shows. Times are ISO 8601, amounts are
 * credits. Unknown values are left out.
 */
export interface Overview {
  at: string
  startedAt: string
  day: string
  month: string
  credits: Credits
  gateway: Gateway
  teams?: TeamSummary[]
  expiringKeys: { team: string; id: string; expiresAt: string; note?: string }[]
  errors: FailedRequest[]
  alerts: Alert[]
}

export interface Credits {
  balance: { state: 'fresh' | 'stale' | 'unknown'; credits?: number; at?: string }
  creditState?: { name: 'normal' | 'reserve' | 'empty'; since: string }
  reserveCredits: number
  burn: { window: string; creditsPerHour: number }[]
  runway?: { seconds: number; emptyAt: string; window: string; timeOfDay: string }
  reconciled?: { at: string; driftCredits: number; topUpCredits: number }
  price: { estimateCredits: number }
}

export interface Gateway {
  inFlight: number
  queue: { team: string; waiting: number }[]
  breaker: string
  store: 'up' | 'down'
  teamsFile: 'ok' | 'refused'
  teamsFileProblems: string[]
  unsaved: { results: number; bytes: number; ledgerSteps: number }
  cache: CacheTier[]
}

export interface CacheTier {
  tier: string
  bytes: number
  entries: number
}

export interface TeamSummary {
  id: string
  name: string
  disabled: boolean
  protected: boolean
  budgets: Budget[]
  overriddenUntil?: string
  today: Spending
  thisMonth: Spending
}

export interface Budget {
  window: 'daily' | 'monthly'
  limitCredits: number
  bookedCredits: number
  remainingCredits: number
}

export interface Spending {
  requests: number
  paidCalls: number
  chargedCredits: number
  savedCredits: number
  unknownCredits: number
}

export interface FailedRequest {
  at: string
  requestId: string
  route: string
  team: string
  status: number
  code: string
}

export interface Alert {
  type: string
  key: string
  text: string
}

export interface HistoryMinute {
  at: string
  requests: number
  errors: number
  answers: Record<string, number>
  spentCredits: number
  savedCredits: number
  balanceCredits?: number
  queue: number
  inFlight: number
  p50Ms?: number
  p95Ms?: number
}

export interface Team {
  id: string
  name: string
  disabled: boolean
  keys: Key[]
  budget?: { daily?: number; monthly?: number }
  override?: { daily?: number; monthly?: number; until: string }
}

export interface Key {
  id: string
  state: 'active' | 'expired' | 'revoked' | 'team disabled'
  created?: string
  expires?: string
  note?: string
  test?: boolean
}

export interface CreatedKey {
  id: string
  key: string
  team: string
  expires?: string
}

export interface AuditEntry {
  seq: number
  id: string
  at: string
  by: string
  name?: string
  address?: string
  requestId?: string
  action: string
  subject: string
  details?: Record<string, unknown>
}

export interface Statement {
  month: string
  closed?: { at: string; by: string }
  sinceClosed?: { team: string; credits: number }[]
  totals: {
    requests: number
    paidCalls: number
    pendingCalls: number
    unknownCalls: number
    chargedCredits: number
    billedCredits: number
  }
}

export interface AuditPage {
  entries: AuditEntry[]
  next?: number
}
