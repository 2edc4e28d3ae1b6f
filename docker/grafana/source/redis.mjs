// Redis, from its exporter (scrape job `redis`).
import { row } from './board.mjs'
import { lines, series, UNITS } from './panels.mjs'
import { share } from './queries.mjs'

const of = metric => `${metric}{job="redis"}`
const rateOf = metric => `sum by (instance) (rate(${of(metric)}[$__rate_interval]))`
const HITS = rateOf('redis_keyspace_hits_total')
const MISSES = rateOf('redis_keyspace_misses_total')

export const redis = row(
  'Redis',
  lines('Memory', 'Memory in use, and the limit at which Redis evicts. No line means that no limit is set.', {
    unit: UNITS.bytes,
    queries: [
      series(`sum by (instance) (${of('redis_memory_used_bytes')})`, '{{instance}}: used'),
      series(`sum by (instance) (${of('redis_memory_max_bytes')}) > 0`, '{{instance}}: limit'),
    ],
  }),
  lines('Evicted keys', 'Results and images evicted before they expired. The ledger is never evicted.', {
    unit: UNITS.eventsPerSecond,
    queries: [series(rateOf('redis_evicted_keys_total'), '{{instance}}')],
  }),
  lines('Commands', 'Commands per second.', {
    unit: UNITS.eventsPerSecond,
    queries: [series(rateOf('redis_commands_processed_total'), '{{instance}}')],
  }),
  lines('Clients', 'Connections to Redis.', {
    size: [12, 8],
    unit: UNITS.number,
    queries: [series(`sum by (instance) (${of('redis_connected_clients')})`, '{{instance}}')],
  }),
  lines('Keys found', 'Share of lookups that found their key, of any kind. A gap means that there were none.', {
    size: [12, 8],
    unit: UNITS.share,
    max: 1,
    queries: [series(share(HITS, `${HITS} + ${MISSES}`), '{{instance}}')],
  }),
)
