import { readdirSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import t, { type Test } from 'tap'
import { parse, stringify } from 'yaml'
import { startTestGateway } from '../support/gateway/gateway.js'
import { findOrSkip, runProgram } from '../support/programs/prometheus.js'

const FOLDER = 'docker/prometheus'
const ALERTMANAGER = 'docker/alertmanager/alertmanager.yml'

interface Rule {
  alert?: string
  record?: string
  expr: string
  labels?: Record<string, string>
  annotations?: Record<string, string>
}

interface RuleTests {
  rule_files: string[]
  group_eval_order: string[]
  tests: {
    alert_rule_test?: { alertname: string; exp_alerts: { exp_labels: Record<string, string> }[] }[]
    promql_expr_test?: { expr: string; exp_samples: unknown[] }[]
  }[]
}

const groups = ['recording', 'alerts'].flatMap(name => {
  const file = parse(readFileSync(`${FOLDER}/rules/${name}.yml`, 'utf8')) as {
    groups: { name: string; rules: Rule[] }[]
  }
  return file.groups
})
const groupNames = groups.map(({ name }) => name)
const rules = groups.flatMap(group => group.rules)
const alerts = rules.filter(rule => rule.alert !== undefined)
const records = rules.flatMap(({ record }) => record ?? [])
const alertNames = [...new Set(alerts.flatMap(({ alert }) => alert ?? []))]
const testFiles = readdirSync(`${FOLDER}/tests`).map(name => `${FOLDER}/tests/${name}`)
const ruleTests = testFiles.map(file => parse(readFileSync(file, 'utf8')) as RuleTests)
const runbook = readFileSync('docs/runbook.md', 'utf8')
const reference = readFileSync('docs/reference.md', 'utf8')

t.test('every alert has a severity, a summary, its figure and a runbook link', async t => {
  for (const { alert = '', labels, annotations } of alerts) {
    t.match(labels?.severity, /^(page|ticket)$/, alert)
    t.match(Object.keys(annotations ?? {}), ['summary', 'description', 'runbook_url'], alert)
    t.match(annotations?.summary, /^[A-Z].{8,}[.]$/, `${alert}: a sentence`)
    t.match(annotations?.description, /^.{20,}[.]$/, `${alert}: a sentence`)
    t.equal(annotations?.runbook_url, `{{ $externalLabels.runbook }}#${alert.toLowerCase()}`, alert)
  }
})

t.test('the runbook has one complete section per alert and no other', async t => {
  const sections = runbook.split(/^## /m).slice(1)
  t.same(sections.map(text => text.slice(0, text.indexOf('\n'))).sort(), [...alertNames].sort())
  for (const text of sections) {
    const parts = [...text.matchAll(/^\*\*(.+?)\*\*/gm)].map(([, part]) => part)
    t.same(parts, ['Meaning.', 'Impact.', 'Check.', 'Fix.', 'Expected when'], text.slice(0, 40))
  }
  for (const [, name = ''] of runbook.matchAll(/\]\(#(\w+)\)/g)) {
    t.ok(
      alertNames.some(alert => alert.toLowerCase() === name),
      `the runbook links to ${name}`,
    )
  }
})

t.test('every alert and recording rule has tests, alerts for firing and not firing', async t => {
  const cases = ruleTests.flatMap(file => file.tests)
  const alertTests = cases.flatMap(test => test.alert_rule_test ?? [])
  for (const { alert, labels } of alerts) {
    const own = alertTests.filter(test => test.alertname === alert)
    const fires = own.some(test => test.exp_alerts.some(({ exp_labels }) => exp_labels.severity === labels?.severity))
    t.ok(fires, `${alert} as ${labels?.severity} fires`)
    t.ok(
      own.some(test => test.exp_alerts.length === 0),
      `${alert} does not fire`,
    )
  }
  const exprTests = cases.flatMap(test => test.promql_expr_test ?? [])
  for (const record of records) {
    t.ok(
      exprTests.some(test => test.expr.includes(record) && test.exp_samples.length > 0),
      record,
    )
  }
  for (const file of ruleTests) t.same(file.group_eval_order, groupNames, 'the figure comes first')
})

t.test('rules and runbook name only exposed metrics, and the reference names all of them', async t => {
  const gateway = await startTestGateway({ env: { ADMIN_KEY: 'operators-0123456789' } })
  t.teardown(gateway.stop)
  const text = await gateway.metrics()
  const exposed = [...text.matchAll(/^# TYPE (\S+) (\w+)$/gm)].flatMap(([, name = '', type]) =>
    type === 'histogram' ? [name, `${name}_bucket`, `${name}_count`, `${name}_sum`] : [name],
  )
  const known = new Set([...exposed, ...records, 'up'])
  const isMetric = /\b(?:[a-z]\w*:)?(?:segmind|process|nodejs|redis)_\w+(?::\w+)?/g
  const namesIn = (text: string) =>
    [...text.matchAll(isMetric)].map(([name]) => name).filter(name => !name.startsWith('redis_'))
  for (const { alert, record, expr } of rules) {
    for (const name of namesIn(expr)) t.ok(known.has(name), `${alert ?? record}: ${name}`)
  }
  for (const [, code = ''] of runbook.matchAll(/`([^`\n]+)`/g)) {
    for (const name of namesIn(code)) t.ok(known.has(name), `runbook: ${name}`)
  }
  t.notOk(known.has('segmind_gateway_no_such_thing_total'))
  const documented = new Set(
    [...reference.matchAll(/^\| (`segmind_\w+`.*?) \|/gm)].flatMap(([, names = '']) => namesIn(names)),
  )
  const own = [...text.matchAll(/^# TYPE (segmind_\S+)/gm)].map(([, name]) => name)
  t.same([...documented].sort(), own.sort())
})

t.test('inhibition rules name existing alerts', async t => {
  const { inhibit_rules, receivers } = parse(readFileSync(ALERTMANAGER, 'utf8'))
  const matchers: string[] = inhibit_rules.flatMap((rule: { source_matchers: string[]; target_matchers: string[] }) => [
    ...rule.source_matchers,
    ...rule.target_matchers,
  ])
  const patterns = matchers.flatMap(text => /^alertname!?=~?"(.+)"$/.exec(text)?.[1] ?? [])
  t.ok(patterns.length > 10)
  for (const pattern of patterns.flatMap(text => text.split(/[|](?![^(]*[)])/))) {
    t.ok(
      alertNames.some(name => new RegExp(`^(?:${pattern})$`).test(name)),
      pattern,
    )
  }
  t.same(receivers, [{ name: 'page' }, { name: 'ticket' }], 'no receiver is notified before an address is configured')
})

const promtool = findOrSkip(t, 'promtool', 'the rules were not tested')

if (promtool !== undefined) {
  t.test('Prometheus accepts the rules and its configuration', async t => {
    const ruleFiles = readdirSync(`${FOLDER}/rules`).map(name => `${FOLDER}/rules/${name}`)
    t.ok(ruleFiles.length >= 2)
    const checked = await runProgram(promtool, 'check', 'rules', ...ruleFiles)
    t.equal(checked.code, 0, checked.output)
    const config = await runProgram(promtool, 'check', 'config', '--syntax-only', `${FOLDER}/prometheus.yml`)
    t.equal(config.code, 0, config.output)
  })

  for (const file of testFiles) {
    t.test(`the rules pass ${file}`, async t => {
      const { code, output } = await runProgram(promtool, 'test', 'rules', ...writeSmallTests(t, file))
      t.equal(code, 0, output)
    })
  }
}

/**
 * Writes each case of a rule test to its own file, with only the rules it needs, and returns the
 * paths. promtool evaluates every loaded rule at every step: with the rules of the whole file, the
 * cases take twice as long.
 */
function writeSmallTests(t: Test, file: string): string[] {
  const { tests, ...settings } = parse(readFileSync(file, 'utf8')) as RuleTests
  const folders = tests.map((test, index) => {
    const kept = groupsFor(test)
    const small = { ...settings, rule_files: ['rules.yml'], group_eval_order: kept.map(({ name }) => name) }
    const files = { 'rules.yml': stringify({ groups: kept }), 'test.yml': stringify({ ...small, tests: [test] }) }
    return [`case-${index + 1}`, files] as const
  })
  const dir = t.testdir(Object.fromEntries(folders))
  return folders.map(([name]) => join(dir, name, 'test.yml'))
}

/** Returns the rules that a case names, with the recording rules they use, in their groups. */
function groupsFor(test: RuleTests['tests'][number]) {
  const own = JSON.stringify(test)
  const needed = new Set(
    rules.filter(({ alert, record }) => own.includes(`"alertname":"${alert}"`) || (record && own.includes(record))),
  )
  // A set also yields what is added during its iteration.
  for (const { expr } of needed) {
    for (const rule of rules) if (rule.record && expr.includes(rule.record)) needed.add(rule)
  }
  return groups
    .map(group => ({ ...group, rules: group.rules.filter(rule => needed.has(rule)) }))
    .filter(group => group.rules.length > 0)
}

const amtool = findOrSkip(t, 'amtool', 'the configuration of Alertmanager was not checked')

if (amtool !== undefined) {
  t.test('Alertmanager accepts its configuration', async t => {
    const { code, output } = await runProgram(amtool, 'check-config', ALERTMANAGER)
    t.equal(code, 0, output)
  })

  t.test('pages and tickets are routed to their receivers', async t => {
    for (const severity of ['page', 'ticket']) {
      const { output } = await runProgram(
        amtool,
        'config',
        'routes',
        'test',
        '--config.file',
        ALERTMANAGER,
        `severity=${severity}`,
      )
      t.match(output, new RegExp(`^${severity}$`, 'm'))
    }
  })
}
