// The account and the spending of teams. All replicas expose the same account (min or max). Their
// own counters are added (sum).
import { board, row } from './board.mjs'
import { bars, dial, lines, named, number, series, states, steps, table, UNITS } from './panels.mjs'
import { increase, rate, share } from './queries.mjs'

const SPENT = 'segmind_gateway_credits_spent_total{team=~"$team"}'
const SAVED = 'segmind_gateway_credits_saved_total{team=~"$team"}'
const UNKNOWN = 'segmind_gateway_credits_unknown_total{team=~"$team"}'
const UNKNOWN_SETTLED = 'segmind_gateway_credits_unknown_settled_total{team=~"$team"}'
const RESULTS = 'segmind_gateway_results_total{team=~"$team"}'
const LEFT = 'min by (team, window) (segmind_gateway_budget_remaining_credits{team=~"$team"})'
const LIMIT = 'max by (team, window) (segmind_gateway_budget_limit_credits{team=~"$team"})'
/** 0 normal, 1 reserve, 2 empty; the worst state of all replicas. */
const STATE = 'max(segmind_credit_state{state="reserve"} + ignoring (state) 2 * segmind_credit_state{state="empty"})'
const STATES = named({ 0: ['normal', 'green'], 1: ['reserve', 'orange'], 2: ['empty', 'red'] })
const BALANCE = 'min(segmind_remaining_credits)'
const RUNWAY = 'min(segmind_credit_runway_seconds)'
const BURN = 'max by (window) (segmind_credit_burn_credits_per_second) * 3600'
const DRIFT = 'max(segmind_credit_drift_credits)'
const PRICE = 'max(segmind_price_estimate_credits)'
const perHour = expr => `${expr} * 3600`

const account = row(
  'The account now',
  number('Balance', 'Credits left at Segmind, as last reported. The lowest value of all replicas.', {
    unit: UNITS.credits,
    expr: BALANCE,
    decimals: 3,
    thresholds: steps('red', [0.000001, 'green']),
  }),
  number(
    'Age of the balance',
    'Time since Segmind reported the balance. The gateway asks for it after a minute without a report.',
    {
      unit: UNITS.seconds,
      expr: 'time() - max(segmind_remaining_credits_timestamp_seconds)',
      decimals: 0,
      thresholds: steps('green', [300, 'orange'], [900, 'red']),
    },
  ),
  number(
    'Runway',
    'Time until the balance is spent at the fastest known rate. Unknown while nothing is spent, and in the first ten minutes.',
    {
      unit: UNITS.seconds,
      expr: RUNWAY,
      decimals: 1,
      thresholds: steps('red', [7_200, 'orange'], [86_400, 'yellow'], [604_800, 'green']),
    },
  ),
  number(
    'Credit state',
    'reserve: only protected teams may buy. empty: no team may buy. Cached results are served in every state.',
    {
      unit: UNITS.state,
      expr: STATE,
      mappings: STATES,
      thresholds: steps('green', [1, 'orange'], [2, 'red']),
    },
  ),
  number(
    'Drift',
    'Credits that left the account without a booking, since the first balance. Negative: more was booked than left.',
    {
      unit: UNITS.credits,
      expr: DRIFT,
      decimals: 4,
      thresholds: steps('green', [0.01, 'orange'], [1, 'red']),
    },
  ),
  number('Price of a call', 'Expected cost of the next call, learned from recent calls.', {
    unit: UNITS.credits,
    expr: PRICE,
    decimals: 5,
  }),
)

const history = row(
  'The account over time',
  lines('Balance', 'Credits left at Segmind.', { unit: UNITS.credits, queries: [series(BALANCE, 'balance')] }),
  lines(
    'Burn',
    'Rate at which credits leave the account, booked or not, over the last hour, day and week. Available after ten minutes of data.',
    {
      unit: UNITS.creditsPerHour,
      queries: [series(BURN, 'over {{window}}')],
    },
  ),
  lines(
    'Runway',
    'Time until the balance is spent at the fastest of these rates. The lines are 2 hours, a day and a week.',
    {
      unit: UNITS.seconds,
      queries: [series(RUNWAY, 'runway')],
      thresholds: steps('red', [7_200, 'orange'], [86_400, 'yellow'], [604_800, 'green']),
    },
  ),
  states('Credit state', 'Teams that may buy: all (normal), protected ones (reserve), none (empty).', {
    queries: [series(STATE, 'credits')],
    mappings: STATES,
  }),
  lines('Drift', 'A step up: another client uses the shared key, or a call cost more than was booked.', {
    size: [8, 6],
    unit: UNITS.credits,
    min: null,
    queries: [series(DRIFT, 'drift')],
  }),
  lines('Price of a call', 'A step: the price of calls has changed.', {
    size: [8, 6],
    unit: UNITS.credits,
    queries: [series(PRICE, 'expected')],
  }),
)

const spending = row(
  'Spending and savings of teams',
  number('Spent', 'Charged for answered calls in the selected time range.', {
    unit: UNITS.credits,
    expr: increase(SPENT),
    decimals: 3,
  }),
  number('Saved', 'Cost of results that came from the cache or were shared by several requests.', {
    unit: UNITS.credits,
    expr: increase(SAVED),
    decimals: 3,
    thresholds: steps('green'),
  }),
  number('Unknown', 'Booked for calls that ended without a known cost, less what was settled since.', {
    unit: UNITS.credits,
    expr: `clamp_min(${increase(UNKNOWN)} - (${increase(UNKNOWN_SETTLED)} or vector(0)), 0)`,
    decimals: 4,
    thresholds: steps('green', [0.000001, 'orange']),
  }),
  dial('Share saved', 'Share of the cost that all results would have had without the cache. Empty without results.', {
    size: [6, 4],
    expr: share(increase(SAVED), `${increase(SAVED)} + ${increase(SPENT)}`),
    thresholds: steps('red', [0.1, 'orange'], [0.3, 'green']),
    noValue: 'nothing yet',
  }),
  bars('Share saved by team', 'The same for each team.', {
    size: [6, 4],
    unit: UNITS.share,
    query: series(
      share(increase(SAVED, 'team'), `${increase(SAVED, 'team')} + ${increase(SPENT, 'team')}`),
      '{{team}}',
    ),
    thresholds: steps('red', [0.1, 'orange'], [0.3, 'green']),
    max: 1,
    noValue: 'nothing yet',
  }),
  lines('Spend by team', 'Charged for answered calls.', {
    unit: UNITS.creditsPerHour,
    stacked: true,
    queries: [series(perHour(rate(SPENT, 'team')), '{{team}}')],
  }),
  lines('Savings by team and how', 'cache: from the cache. coalesced: shared the purchase of an identical request.', {
    unit: UNITS.creditsPerHour,
    stacked: true,
    queries: [series(perHour(rate(SAVED, 'team', 'how')), '{{team}}, {{how}}')],
  }),
  lines(
    'Unknown by team',
    'Calls that timed out or lost their connection after they were sent. They stay booked until the balance shows the outcome.',
    {
      unit: UNITS.creditsPerHour,
      stacked: true,
      queries: [series(perHour(rate(UNKNOWN, 'team')), '{{team}}')],
    },
  ),
  table('Top spenders', 'The twenty teams that spent most in the selected time range.', {
    by: 'team',
    columns: [
      { name: 'Spent', unit: UNITS.credits, expr: increase(SPENT, 'team') },
      { name: 'Saved', unit: UNITS.credits, expr: increase(SAVED, 'team') },
      { name: 'Unknown', unit: UNITS.credits, expr: increase(UNKNOWN, 'team') },
      { name: 'Results', unit: UNITS.number, expr: increase(RESULTS, 'team') },
    ],
  }),
)

const budgets = row(
  'Budgets',
  bars(
    'Left of the budget',
    'Remaining budget of the current day or month, as a share of its limit. Only teams with a budget.',
    {
      unit: UNITS.share,
      query: series(`${LEFT} / ${LIMIT}`, '{{team}}, {{window}}'),
      thresholds: steps('red', [0.000001, 'orange'], [0.2, 'green']),
      max: 1,
      noValue: 'no budgets',
    },
  ),
  lines('Left, and the limit', 'In credits. Calls in flight count. The limit is a separate line.', {
    size: [12, 8],
    unit: UNITS.credits,
    queries: [series(LEFT, '{{team}}, {{window}}: left'), series(LIMIT, '{{team}}, {{window}}: limit')],
  }),
)

export const credits = board({
  uid: 'segmind-credits',
  title: 'Segmind credits',
  description: 'The shared account: balance, runway, spending by team and savings of the gateway.',
  rows: [account, history, spending, budgets],
})
