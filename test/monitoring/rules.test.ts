import { readdirSync, readFileSync } from 'node:fs'
import t from 'tap'
import { parse } from 'yaml'
import { startTestGateway } from '../support/gateway.js'
import { findOrSkip, runProgram } from '../support/prometheus.js'

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

t.test('every alert says how urgent it is, what is the matter, with which figure, and where to read on', async t => {
  for (const { alert = '', labels, annotations } of alerts) {
    t.match(labels?.severity, /^(page|ticket)$/, alert)
    t.match(Object.keys(annotations ?? {}), ['summary', 'description', 'runbook_url'], alert)
    t.match(annotations?.summary, /^[A-Z].{8,}[.]$/, `${alert}: a sentence`)
    t.match(annotations?.description, /^.{20,}[.]$/, `${alert}: a sentence`)
    t.equal(annotations?.runbook_url, `{{ $externalLabels.runbook }}#${alert.toLowerCase()}`, alert)
  }
})

t.test('the runbook has a section for every alert and for nothing else, with all that is asked at night', async t => {
  const sections = runbook.split(/^## /m).slice(1)
  t.same(sections.map(text => text.slice(0, text.indexOf('\n'))).sort(), [...alertNames].sort())
  for (const text of sections) {
    const parts = [...text.matchAll(/^\*\*(.+?)\*\*/gm)].map(([, part]) => part)
    t.same(parts, ['What it means.', 'Callers see.', 'Look at.', 'Do.', 'No problem when'], text.slice(0, 40))
  }
  for (const [, name = ''] of runbook.matchAll(/\]\(#(\w+)\)/g)) {
    t.ok(
      alertNames.some(alert => alert.toLowerCase() === name),
      `the runbook leads to ${name}`,
    )
  }
})

t.test('every alert and every recorded figure is tried, alerts for firing and for not firing', async t => {
  const tried = ruleTests.flatMap(file => file.tests)
  const alertTests = tried.flatMap(test => test.alert_rule_test ?? [])
  for (const { alert, labels } of alerts) {
    const own = alertTests.filter(test => test.alertname === alert)
    const fires = own.some(test => test.exp_alerts.some(({ exp_labels }) => exp_labels.severity === labels?.severity))
    t.ok(fires, `${alert} as ${labels?.severity} fires`)
    t.ok(
      own.some(test => test.exp_alerts.length === 0),
      `${alert} does not fire`,
    )
  }
  const exprTests = tried.flatMap(test => test.promql_expr_test ?? [])
  for (const record of records) {
    t.ok(
      exprTests.some(test => test.expr.includes(record) && test.exp_samples.length > 0),
      record,
    )
  }
  for (const file of ruleTests) t.same(file.group_eval_order, groupNames, 'figures come first')
})

t.test('rules and runbook name only metrics that there are', async t => {
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
})

t.test('what is not told beside something else names alerts that there are', async t => {
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
  t.same(
    receivers,
    [{ name: 'page' }, { name: 'ticket' }],
    'nobody is told before an address is given, and none is in the file',
  )
})

const promtool = findOrSkip(t, 'promtool', 'the rules were not tried')

if (promtool !== undefined) {
  t.test('Prometheus takes the rules and its settings', async t => {
    const ruleFiles = readdirSync(`${FOLDER}/rules`).map(name => `${FOLDER}/rules/${name}`)
    t.ok(ruleFiles.length >= 2)
    const checked = await runProgram(promtool, 'check', 'rules', ...ruleFiles)
    t.equal(checked.code, 0, checked.said)
    const config = await runProgram(promtool, 'check', 'config', '--syntax-only', `${FOLDER}/prometheus.yml`)
    t.equal(config.code, 0, config.said)
  })

  for (const file of testFiles) {
    t.test(`the rules do what ${file} says`, async t => {
      const { code, said } = await runProgram(promtool, 'test', 'rules', file)
      t.equal(code, 0, said)
    })
  }
}

const amtool = findOrSkip(t, 'amtool', 'what Alertmanager would make of its settings was not tried')

if (amtool !== undefined) {
  t.test('Alertmanager takes its settings', async t => {
    const { code, said } = await runProgram(amtool, 'check-config', ALERTMANAGER)
    t.equal(code, 0, said)
  })

  t.test('pages and tickets go where they are meant to go', async t => {
    for (const severity of ['page', 'ticket']) {
      const { said } = await runProgram(
        amtool,
        'config',
        'routes',
        'test',
        '--config.file',
        ALERTMANAGER,
        `severity=${severity}`,
      )
      t.match(said, new RegExp(`^${severity}$`, 'm'))
    }
  })
}
