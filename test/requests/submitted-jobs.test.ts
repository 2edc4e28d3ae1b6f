import t from 'tap'
import { StoreError } from '../../src/contracts/store.js'
import { SubmittedJobs } from '../../src/requests/submitted-jobs.js'
import { memoryRecords } from '../support/doubles/memory-records.js'

const REQUEST = { team: 'vision', isTest: false, resultId: 'r', mustBuy: false }

t.test('a job is found by every replica, with its end', async t => {
  const records = memoryRecords()
  const failures: string[] = []
  const jobs = () =>
    new SubmittedJobs({
      records,
      now: () => 7,
      observer: { storeFailed: (_error, operation) => failures.push(operation) },
    })
  const job = await jobs().open(REQUEST)
  t.match(job, { ...REQUEST, submittedAt: 7, id: /^[0-9a-f-]{36}$/ })
  t.strictSame(await jobs().find(job.id), job)
  const end = { kind: 'completed', at: 9, cost: 5, queueMs: 1, upstreamMs: 2 } as const
  const ending = jobs()
  void ending.end(job, end)
  await ending.idle()
  t.strictSame(await jobs().find(job.id), { ...job, end })
  t.equal(await jobs().find('other'), undefined)
  t.strictSame(failures, [])
})

t.test('a store failure rejects a new job and is reported for the end of one', async t => {
  const down = async () => {
    throw new StoreError('down')
  }
  const failures: string[] = []
  const records = { get: down, put: down, delete: down }
  const jobs = new SubmittedJobs({
    records,
    now: () => 0,
    observer: { storeFailed: (_error, operation) => failures.push(operation) },
  })
  await t.rejects(jobs.open(REQUEST), { name: 'StoreError' })
  const job = { id: 'j', submittedAt: 0, ...REQUEST }
  await jobs.end(job, { kind: 'failed', at: 0, code: 'x', message: 'm', retryable: false, billed: 'no' })
  t.strictSame(failures, ['jobs: end'])
})
