import t from 'tap'
import { Jobs } from '../../src/requests/jobs.js'
import { StoreError } from '../../src/storage.js'
import { memoryRecords } from '../support/memory-records.js'

const ASKED = { team: 'vision', isTest: false, resultId: 'r', mustBuy: false }

t.test('a job is found by whoever asks for it, with its end', async t => {
  const records = memoryRecords()
  const failures: string[] = []
  const jobs = () => new Jobs({ records, now: () => 7, onStoreFailure: (_error, doing) => failures.push(doing) })
  const job = await jobs().open(ASKED)
  t.match(job, { ...ASKED, submittedAt: 7, id: /^[0-9a-f-]{36}$/ })
  t.strictSame(await jobs().find(job.id), job)
  const end = { kind: 'completed', at: 9, cost: 5, queueMs: 1, upstreamMs: 2 } as const
  const ending = jobs()
  void ending.end(job, end)
  await ending.idle()
  t.strictSame(await jobs().find(job.id), { ...job, end })
  t.equal(await jobs().find('other'), undefined)
  t.strictSame(failures, [])
})

t.test('a store that is down refuses a job before anything is spent, and loses no end aloud', async t => {
  const down = async () => {
    throw new StoreError('down')
  }
  const failures: string[] = []
  const records = { get: down, put: down, delete: down }
  const jobs = new Jobs({ records, now: () => 0, onStoreFailure: (_error, doing) => failures.push(doing) })
  await t.rejects(jobs.open(ASKED), { name: 'StoreError' })
  const job = { id: 'j', submittedAt: 0, ...ASKED }
  await jobs.end(job, { kind: 'failed', at: 0, code: 'x', message: 'm', retryable: false, billed: 'no' })
  t.strictSame(failures, ['end'])
})
