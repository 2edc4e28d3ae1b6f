import t from 'tap'
import { PeriodicRun } from '../../src/credits/periodic-run.js'
import { eventually } from '../support/eventually.js'
import { gate } from './ledger-world.js'

t.test('runs one at a time, again and again, and a failure is reported', async t => {
  const { passed, open } = gate()
  const failures: string[] = []
  let runs = 0
  const periodic = new PeriodicRun({
    everyMs: 1,
    spread: 0.2,
    async run() {
      if (++runs === 1) await passed
      if (runs === 2) throw new Error('broken')
      return runs
    },
    onFailed(error) {
      failures.push(String(error))
      return -1
    },
  })
  periodic.start()
  const joined = periodic.now()
  t.equal(runs, 1, 'joins the current run')
  open()
  t.equal(await joined, 1)
  await eventually('no further run', () => runs >= 4)
  t.same(failures, ['Error: broken'])
  await periodic.close()
  const last = runs
  t.ok(periodic.isClosed)
  periodic.startLater()
  await periodic.close()
  t.equal(runs, last, 'a closed one does not start again')
})

t.test('closing waits for the current run', async t => {
  const { passed, open } = gate()
  let isDone = false
  const run = async () => {
    await passed
    isDone = true
  }
  const periodic = new PeriodicRun({ everyMs: 1, run, onFailed: error => t.fail(String(error)) })
  periodic.start()
  const closed = periodic.close()
  open()
  await closed
  t.ok(isDone)
})
