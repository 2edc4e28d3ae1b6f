import { readFile } from 'node:fs/promises'
import t, { type Test } from 'tap'
import { formatCredits, fromCredits } from '../../src/contracts/nanocredits.js'
import { createApiKey } from '../../src/teams/api-key.js'
import { startTestGateway, type TestGateway } from '../support/gateway/gateway.js'

const ADMIN_KEY = 'an-operators-key'
const TEAMS = ['lab', 'press', 'shop', 'studio']
const OCTOBER = '2026-10'
const NOVEMBER = '2026-11'

// biome-ignore lint/suspicious/noExplicitAny: the contract test checks the form of this JSON
type Statement = any

/** Starts gateways one after another over one store, with a clock of the test. */
function setUp(t: Test) {
  const clock = { now: Date.parse('2026-10-15T10:00:00Z') }
  t.intercept(Date, 'now', { value: () => clock.now })
  const dataDir = t.testdir()
  const keys = Object.fromEntries(TEAMS.map(team => [team, createApiKey().text]))
  const open = async (policy: string) => {
    const teams = Object.fromEntries(TEAMS.map(team => [team, {}]))
    const gateway = await startTestGateway({ teams, keys, dataDir, env: { ADMIN_KEY, CHARGEBACK: policy } })
    t.teardown(gateway.stop)
    return gateway
  }
  return { clock, open }
}

async function administer(gateway: TestGateway, path: string, init: RequestInit = {}): Promise<Statement> {
  return (await gateway.fetch(path, { ...init, headers: { ...init.headers, 'x-api-key': ADMIN_KEY } })).json()
}

async function used(gateway: TestGateway, team: string): Promise<string | null> {
  const answer = await gateway.segment({ prompt: 'dog' }, { team })
  await answer.arrayBuffer()
  return answer.headers.get('x-cache')
}

const figuresOf = (statement: Statement, team: string) =>
  team === 'total'
    ? statement.totals
    : (statement.teams.find((one: Statement) => one.team === team)?.totals ?? {
        chargedCredits: 0,
        sharedCredits: 0,
        billedCredits: 0,
      })
const text = (credits: number) => formatCredits(fromCredits(credits))
const row = (cells: string[]) => `| ${cells.join(' | ')} |`

t.test('the example in docs/chargeback.md matches the gateway', async t => {
  const document = await readFile('docs/chargeback.md', 'utf8')
  const hasRow = (cells: string[]) => t.ok(document.split('\n').includes(row(cells)), row(cells))
  const { clock, open } = setUp(t)

  let gateway = await open('split')
  for (const [team, how, does] of [
    ['studio', 'MISS', 'buys it'],
    ['shop', 'HIT', 'hits it'],
    ['press', 'HIT', 'hits it'],
  ] as const) {
    t.equal(await used(gateway, team), how)
    const { teams, totals, ...rest } = await administer(gateway, '/admin/usage')
    t.match(rest, { month: OCTOBER, policy: 'split' })
    const bears = ['studio', 'shop', 'press'].map(name => text(figuresOf({ teams }, name).billedCredits))
    hasRow([`${team} ${does}`, ...bears, text(totals.billedCredits)])
  }
  await used(gateway, 'shop')
  await used(gateway, 'studio')

  clock.now = Date.parse('2026-11-02T10:00:00Z')
  t.equal(await used(gateway, 'lab'), 'HIT')
  const split = [await administer(gateway, `/admin/usage?month=${OCTOBER}`), await administer(gateway, '/admin/usage')]
  await gateway.stop()
  gateway = await open('first-payer')
  const months = [OCTOBER, NOVEMBER]
  for (const [index, month] of months.entries()) {
    const first = await administer(gateway, `/admin/usage?month=${month}`)
    t.equal(first.policy, 'first-payer')
    const names = [...split[index].teams.map(({ team }: Statement) => team), 'total']
    t.strictSame(names, [...TEAMS.filter(team => team !== 'lab' || month === NOVEMBER), 'total'])
    for (const team of names) {
      const [one, other] = [figuresOf(first, team), figuresOf(split[index], team)]
      t.strictSame(
        { ...one, billedCredits: 0 },
        { ...other, billedCredits: 0 },
        'the policy changes only the billed amounts',
      )
      hasRow([team, ...[one.chargedCredits, one.sharedCredits, one.billedCredits, other.billedCredits].map(text)])
    }
  }
})

t.test('a closed month is reported unchanged to operators and teams', async t => {
  const { clock, open } = setUp(t)
  const gateway = await open('split')
  await used(gateway, 'studio')
  await used(gateway, 'shop')
  const closing = `/admin/usage/${OCTOBER}/closing`
  t.match(await administer(gateway, closing, { method: 'PUT' }), { code: 'invalid_request', detail: /is not over/ })

  clock.now = Date.parse('2026-11-02T10:00:00Z')
  const headers = { 'content-type': 'application/json' }
  const closed = await administer(gateway, closing, { method: 'PUT', headers, body: '{"a body":"is ignored"}' })
  const at = '2026-11-02T10:00:00.000Z'
  t.match(closed, { closed: { at, by: 'operator' }, sinceClosed: [], totals: { billedCredits: 0.0017 } })
  await used(gateway, 'press')
  t.strictSame(await administer(gateway, `/admin/usage?month=${OCTOBER}`), closed)
  const own = await (
    await gateway.fetch(`/usage?month=${OCTOBER}`, { headers: { 'x-api-key': gateway.keys.shop ?? '' } })
  ).json()
  t.match(own, {
    team: 'shop',
    closed: { at },
    sinceClosed: { credits: 0 },
    totals: { hits: 1, billedCredits: 0.00085 },
  })
  t.match(await (await gateway.fetch('/usage')).json(), { month: NOVEMBER, closed: undefined })

  t.match(await administer(gateway, closing, { method: 'DELETE' }), {
    closed: { at },
    totals: { billedCredits: 0.0017 },
  })
  const { closed: none, closings } = await administer(gateway, `/admin/usage?month=${OCTOBER}`)
  t.equal(none, undefined)
  t.strictSame(
    closings.map(({ what, by }: Statement) => [what, by]),
    [
      ['closed', 'operator'],
      ['reopened', 'operator'],
    ],
  )
  t.match(await administer(gateway, closing, { method: 'DELETE' }), { code: 'not_found' })
})

t.test('operators read all teams or one, as JSON or as CSV', async t => {
  const { open } = setUp(t)
  const gateway = await open('split')
  await used(gateway, 'studio')
  await used(gateway, 'shop')
  const text = async (path: string, accept = '*/*') => {
    const answer = await gateway.fetch(path, { headers: { 'x-api-key': ADMIN_KEY, accept } })
    return { type: answer.headers.get('content-type'), lines: (await answer.text()).split('\n') }
  }
  for (const csv of [await text('/admin/usage?format=csv'), await text('/admin/usage', 'text/csv, */*;q=0.1')]) {
    t.equal(csv.type, 'text/csv; charset=utf-8')
    t.match(csv.lines, [
      /^day,team,requests,/,
      /^2026-10-15,shop,1,1,.*,0\.00085,0\.00085$/,
      /^2026-10-15,studio,1,0,/,
      /^$/,
    ])
  }
  t.match(await text('/admin/usage?format=json', 'text/csv'), { type: /^application\/json/ })
  t.match(await text('/admin/usage', 'application/json, text/csv'), { type: /^application\/json/ })
  const own = await administer(gateway, '/admin/usage?team=shop')
  t.match(own, { teams: [{ team: 'shop' }], totals: { requests: 1, savedByCacheCredits: 0.0017 } })
  t.equal(own.teams.length, 1)
  t.match(await administer(gateway, '/admin/usage?team=nobody'), { teams: [], totals: { requests: 0 } })
})
