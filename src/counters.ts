import { Counter, type Registry } from '@prometheus-io/client'
import { ERRORS } from './errors.js'

export const PREFIX = 'segmind_gateway'

/** Labels whose values are known beforehand: their series begin at 0, or Prometheus would not see the first step of each as one. */
const KNOWN = {
  retries: { why: ['unsent', 'busy', 'server_error'] },
  flights: { role: ['leader', 'follower', 'takeover', 'unguarded'] },
  lostResults: { why: ['no_room', 'refused'] },
  orphans: { fate: ['resumed', 'unknown'] },
} as const

/** Where questions are asked, and what fails them without being the caller's mistake: a first outage is a step, too. */
const QUESTION_ROUTES = ['/segment', '/segment/batch', '/v1/sam-v2-image', '/v2/sam-v2-image']
const FAILURES = Object.entries(ERRORS).flatMap(([code, { status }]) => (status >= 500 ? [code] : []))

/** What a team is answered with, and how it saves. */
const CACHE = ['hit', 'miss', 'coalesced', 'stale', 'bypass']
const HOW = ['cache', 'coalesced']

export type Counters = ReturnType<typeof makeCounters>

/** Everything that is counted. */
export function counters(register: Registry): Counters {
  const made = makeCounters(register)
  for (const [name, labels] of Object.entries(KNOWN)) {
    for (const [label, values] of Object.entries(labels)) {
      for (const value of values) made[name as keyof typeof KNOWN].inc({ [label]: value }, 0)
    }
  }
  for (const route of QUESTION_ROUTES) for (const code of FAILURES) made.errors.inc({ route, code }, 0)
  return made
}

/** A team that is in the teams file and was not heard of has got, spent and saved nothing: that is known, and 0. */
export function startTeamsAtZero({ results, uploadBytes, spent, saved, unknown }: Counters, teams: string[]): void {
  for (const team of teams) {
    for (const counter of [uploadBytes, spent, unknown]) counter.inc({ team }, 0)
    for (const cache of CACHE) results.inc({ team, cache }, 0)
    for (const how of HOW) saved.inc({ team, how }, 0)
  }
}

function makeCounters(register: Registry) {
  const counter = (name: string, help: string, ...labelNames: string[]) =>
    new Counter({ name: `${PREFIX}_${name}`, help, labelNames, registers: [register] })
  return {
    requests: counter('requests_total', 'HTTP requests by route, team and status.', 'route', 'team', 'code'),
    errors: counter(
      'errors_total',
      'Requests and selections of batches that ended with an error, by its code; without those of test keys.',
      'route',
      'code',
    ),
    results: counter('results_total', 'Results answered, by where they came from.', 'team', 'cache'),
    uploadBytes: counter('upload_bytes_total', 'Bytes of images received.', 'team'),
    spent: counter('credits_spent_total', 'Credits charged for answered calls.', 'team'),
    saved: counter('credits_saved_total', 'Credits not spent again, by how.', 'team', 'how'),
    unknown: counter('credits_unknown_total', 'Credits booked for calls whose outcome is unknown.', 'team'),
    upstream: counter('upstream_requests_total', 'Attempts at Segmind by status, or by what prevented one.', 'code'),
    retries: counter('upstream_retries_total', 'Requests sent to Segmind once more, by why.', 'why'),
    flights: counter(
      'flights_total',
      'Seats in flights shared by all processes: who bought, who waited, who took over.',
      'role',
    ),
    lostResults: counter('lost_results_total', 'Paid answers that the store never got.', 'why'),
    orphans: counter('orphaned_calls_total', 'Calls of processes that died, by what became of them.', 'fate'),
    storeFailures: counter('store_failures_total', 'Steps the store did not do.', 'doing'),
  }
}
