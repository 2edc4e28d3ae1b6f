import { execFile, execFileSync, fork } from 'node:child_process'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import {
  existsSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  truncateSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { promisify } from 'node:util'
import t, { type Test } from 'tap'
import type { Blob, Store } from '../../../src/contracts/store.js'
import { type EmbeddedStoreOptions, openEmbeddedStore } from '../../../src/store/embedded/embedded-store.js'
import { openEnvironment } from '../../../src/store/embedded/environment.js'
import { checkFile } from '../../../src/store/embedded/file-check.js'
import { entriesOf } from '../../support/entries-of.js'
import { eventually } from '../../support/eventually.js'
import { call, charged } from '../suite/samples.js'
import { testStore } from '../suite/store-suite.js'

const NOW = 1_764_547_200_000
const clocks = new WeakMap<Store, { now: number }>()
const folders = new WeakMap<Store, string>()

async function open(t: Test, options: Partial<EmbeddedStoreOptions> = {}): Promise<Store> {
  const clock = { now: NOW }
  const dir = options.dir ?? t.testdir()
  const store = await openEmbeddedStore({ maxBytes: 200_000_000, now: () => clock.now, ...options, dir })
  clocks.set(store, clock)
  folders.set(store, dir)
  t.teardown(() => store.close())
  return store
}

function elapse(store: Store, seconds: number): void {
  const clock = clocks.get(store)
  if (clock) clock.now += seconds * 1000
}

testStore(t, {
  open,
  elapse: async (store, _kind, _key, seconds) => elapse(store, seconds),
  async downgrade(t, store) {
    const dir = folders.get(store) as string
    await store.close()
    const { environment: money, parts } = await openEnvironment(dir, 'ledger', 2 ** 30, ({ root }) =>
      ['account', 'unknown', 'costs', 'steps'].map(name => root.openDB(name, {})),
    )
    await money.write(() => {
      for (const part of parts) part.clearSync()
    })
    await money.close()
    return open(t, { dir })
  },
  async setMark(t, store, { day, team }, mark) {
    const dir = folders.get(store) as string
    await store.close()
    const { environment: money, parts: marks } = await openEnvironment(dir, 'ledger', 2 ** 30, ({ root }) =>
      root.openDB<typeof mark, [string, string]>('rolled-up', {}),
    )
    await money.write(() => void (mark ? marks.put([day, team], mark) : marks.remove([day, team])))
    await money.close()
    return open(t, { dir })
  },
  async share(t) {
    const target = t.testdir()
    return { technology: 'embedded', target, keyPrefix: '', open: () => open(t, { dir: target }) }
  },
})

const blobOf = (bytes: number): Blob => {
  const body = randomBytes(bytes)
  return { meta: createHash('sha256').update(body).digest('hex'), body }
}

const isWhole = (blob: Blob | undefined): boolean =>
  blob?.meta ===
  createHash('sha256')
    .update(blob?.body ?? '')
    .digest('hex')

t.test('the blobs stay within the bound, and the file stops growing', async t => {
  const dir = t.testdir()
  const maxBytes = 10_000_000
  const store = await open(t, { dir, maxBytes })
  let written = 0
  for (let index = 0; written < maxBytes * 5; index++) {
    const blob = blobOf(index % 10 === 0 ? 1_500_000 : 1 + ((index * 7_919) % 300_000))
    await store.results.put(`key-${index}`, blob, 3_600)
    written += blob.body.length
    const held = await store.size()
    if (!held || held.bytes > maxBytes) t.fail(`holds ${held?.bytes} bytes`)
    t.ok(isWhole(await store.results.get(`key-${index}`)), 'the last blob is found')
  }
  const held = await store.size()
  t.ok(held && held.bytes > maxBytes / 2 && held.entries > 3, 'the room is used')
  t.ok(
    statSync(join(dir, 'blobs.mdb')).size < maxBytes * 2.5,
    `the file has ${statSync(join(dir, 'blobs.mdb')).size} bytes`,
  )
})

t.test('small blobs count with their overhead', async t => {
  const store = await open(t, { maxBytes: 1_000_000 })
  await Promise.all(Array.from({ length: 1_000 }, (_, index) => store.results.put(`key-${index}`, blobOf(10), 60)))
  const held = await store.size()
  t.ok(held && held.entries < 300 && held.bytes <= 1_000_000, JSON.stringify(held))
})

t.test('expired blobs are evicted first, then the least recently used', async t => {
  const store = await open(t, { maxBytes: 420_000, touchAfterMs: 60_000 })
  const present = async () => {
    const keys = ['oldest', 'read', 'brief', 'newest', 'one-more', 'and-more']
    const found = await Promise.all(keys.map(key => store.results.has(key)))
    return keys.filter((_, index) => found[index])
  }
  await store.results.put('oldest', blobOf(100_000), 100_000)
  elapse(store, 1)
  await store.results.put('read', blobOf(100_000), 100_000)
  elapse(store, 1)
  await store.images.put('image', blobOf(1_000), 100_000)
  await store.results.put('brief', blobOf(100_000), 300)
  elapse(store, 200)
  t.ok(await store.results.get('read'))
  elapse(store, 100)
  await store.results.put('newest', blobOf(100_000), 100_000)
  t.same(
    await present(),
    ['oldest', 'read', 'newest'],
    'the expired blob was evicted, although others were unused for longer',
  )
  await store.results.put('one-more', blobOf(100_000), 100_000)
  t.same(await present(), ['oldest', 'read', 'newest', 'one-more'])
  await store.results.put('and-more', blobOf(100_000), 100_000)
  t.same(
    await present(),
    ['read', 'newest', 'one-more', 'and-more'],
    'the blob that was read stays, and the other is evicted',
  )
})

t.test('a second read soon after the first writes nothing', async t => {
  const dir = t.testdir()
  const store = await open(t, { dir, maxBytes: 220_000, touchAfterMs: 60_000 })
  await store.results.put('first', blobOf(100_000), 1_000)
  elapse(store, 1)
  await store.results.put('second', blobOf(100_000), 1_000)
  elapse(store, 30)
  await store.results.get('first')
  await store.results.put('third', blobOf(100_000), 1_000)
  t.equal(await store.results.has('first'), false, 'a read within the interval does not renew its time of use')
})

t.test('a blob larger than the whole bound is refused and evicts nothing', async t => {
  const store = await open(t, { maxBytes: 300_000 })
  await store.results.put('small', blobOf(100_000), 60)
  await t.rejects(store.results.put('huge', blobOf(300_000), 60), { name: 'StoreError' })
  t.equal(await store.results.has('small'), true)
  t.equal(await store.results.has('huge'), false)
})

t.test('expired blobs are deleted in the background, and ledger entries never are', async t => {
  const store = await open(t, { purgeEveryMs: 5 })
  await store.ledger.settle(call('a'), charged(70))
  await Promise.all(Array.from({ length: 250 }, (_, index) => store.images.put(`key-${index}`, blobOf(100), 10)))
  await store.images.put('stays', blobOf(100), 100)
  elapse(store, 10)
  await eventually('the expired blobs were never removed', async () => (await store.size())?.entries === 1)
  t.equal(await store.images.has('stays'), true)
  t.equal((await entriesOf(store.ledger, call('a').day)).length, 1)
})

t.test('a key that LMDB does not accept is a StoreError', async t => {
  const { results } = await open(t)
  await t.rejects(results.put('x'.repeat(600), blobOf(1), 60), { name: 'StoreError' })
  await t.rejects(results.get('a\0b'), { name: 'StoreError' })
})

t.test('data is found by the next process', async t => {
  const dir = join(t.testdir(), 'not', 'there', 'yet')
  const first = await openEmbeddedStore({ dir, maxBytes: 1_000_000 })
  const blob = blobOf(100_000)
  await first.results.put('key', blob, 60)
  await first.ledger.settle(call('a'), charged(70))
  t.equal(first.isUp(), true)
  await first.close()
  t.equal(first.isUp(), false)
  await t.rejects(first.results.get('key'), { name: 'StoreError' })
  await t.rejects(first.ledger.reserve(call('b'), {}), { name: 'StoreError' })
  const second = await openEmbeddedStore({ dir, maxBytes: 1_000_000 })
  t.teardown(() => second.close())
  t.same(await second.results.get('key'), blob)
  t.match(await entriesOf(second.ledger, call('a').day), [{ callId: 'a', state: 'charged' }])
  t.equal(statSync(dir).mode & 0o777, 0o700, 'only this user has access')
})

t.test('an unusable folder is reported with its path and reason', async t => {
  const dir = t.testdir({ file: 'no folder', corrupt: {} })
  await t.rejects(openEmbeddedStore({ dir: join(dir, 'file'), maxBytes: 1e6 }), {
    name: 'Error',
    message: /the folder .*file cannot be used/,
  })
  await t.rejects(openEmbeddedStore({ dir: join(dir, 'file', 'below'), maxBytes: 1e6 }), {
    name: 'Error',
    message: /cannot be used/,
  })
  writeFileSync(join(dir, 'corrupt', 'ledger.mdb'), randomBytes(100_000))
  await t.rejects(openEmbeddedStore({ dir: join(dir, 'corrupt'), maxBytes: 1e6 }), {
    name: 'Error',
    message: /the ledger .*ledger\.mdb cannot be opened: the file is damaged/,
  })
})

/** Opens a store in a new folder, fills both files and closes it. */
async function filled(t: Test): Promise<string> {
  const dir = t.testdir()
  const store = await openEmbeddedStore({ dir, maxBytes: 5_000_000 })
  for (let index = 0; index < 20; index++) {
    await store.results.put(`key-${index}`, blobOf(100_000), 600)
    await store.ledger.settle(call(`call-${index}`), charged(70))
  }
  await store.close()
  return dir
}

const DAMAGES: [title: string, damage: (path: string) => void][] = [
  ['cut to half', path => truncateSync(path, Math.floor(statSync(path).size / 2))],
  ['cut by a quarter', path => truncateSync(path, Math.floor((statSync(path).size * 3) / 4))],
  ['cut to its first page', path => truncateSync(path, 4_096)],
  ['cut to a few bytes', path => truncateSync(path, 10)],
  ['overwritten', path => writeFileSync(path, randomBytes(100_000))],
  ['with zeros behind its first pages', path => writeFileSync(path, readFileSync(path).fill(0, 8_192))],
  ['with ones behind its first pages', path => writeFileSync(path, readFileSync(path).fill(0xff, 8_192))],
]
for (const [title, damage] of DAMAGES) {
  t.test(`a cache ${title} is set aside and rebuilt, and the ledger is kept`, async t => {
    const dir = await filled(t)
    damage(join(dir, 'blobs.mdb'))
    const problems: string[] = []
    const store = await open(t, { dir, onProblem: error => problems.push((error as Error).message) })
    t.match(problems, [/^the cache starts empty: the file is damaged.*kept as .*blobs\.mdb\.damaged-\d+$/])
    t.equal(await store.results.get('key-1'), undefined)
    await store.results.put('key', blobOf(100_000), 60)
    t.ok(isWhole(await store.results.get('key')))
    t.equal((await entriesOf(store.ledger, call('a').day)).length, 20)
    t.equal(readdirSync(dir).filter(name => name.startsWith('blobs.mdb.damaged-')).length, 1)
  })

  t.test(`a ledger ${title} is left as it is, and the start is refused with one sentence`, async t => {
    const dir = await filled(t)
    damage(join(dir, 'ledger.mdb'))
    const before = readFileSync(join(dir, 'ledger.mdb'))
    await t.rejects(openEmbeddedStore({ dir, maxBytes: 5_000_000 }), {
      name: 'Error',
      message:
        /^the ledger .*ledger\.mdb cannot be opened: .*left as it is\. Restore it from a backup, or move it away/,
    })
    t.ok(readFileSync(join(dir, 'ledger.mdb')).equals(before))
  })
}

t.test('a cache whose damage shows only when it is read is set aside, and only the newest copy is kept', async t => {
  const dir = t.testdir()
  const path = join(dir, 'blobs.mdb')
  const store = await openEmbeddedStore({ dir, maxBytes: 5_000_000 })
  await Promise.all(Array.from({ length: 400 }, (_, index) => store.results.put(`key-${index}`, blobOf(10), 600)))
  await store.close()
  const whole = readFileSync(path)
  let setAside = 0
  for (let page = 2; page < whole.length / 4_096; page++) {
    const isLeaf = whole.readBigUInt64LE(page * 4_096) === BigInt(page) && whole.readUInt16LE(page * 4_096 + 18) === 2
    if (!isLeaf) continue
    writeFileSync(path, Buffer.from(whole).fill(0, page * 4_096, (page + 1) * 4_096))
    if (checkFile(path) !== 'whole') continue
    const onProblem = (error: unknown) =>
      t.match(error, { message: /^the cache starts empty: the file is damaged: MDB_/ })
    const now = () => NOW + page
    const opened = await openEmbeddedStore({ dir, maxBytes: 5_000_000, now, onProblem })
    if ((await opened.size())?.entries === 0) setAside++
    await opened.close()
  }
  t.ok(setAside >= 2, `${setAside} times`)
  t.equal(readdirSync(dir).filter(name => name.includes('.damaged-')).length, 1)
})

t.test('a ledger whose totals cannot be read refuses the start with one sentence', async t => {
  const dir = await filled(t)
  const path = join(dir, 'ledger.mdb')
  const bytes = readFileSync(path)
  // 0xc1 is no value of MessagePack.
  for (let at = bytes.indexOf('sequence'); at >= 0; at = bytes.indexOf('sequence', at + 8))
    bytes.fill(0xc1, at, at + 20)
  writeFileSync(path, bytes)
  await t.rejects(openEmbeddedStore({ dir, maxBytes: 5_000_000 }), {
    name: 'Error',
    message: /^the ledger .*ledger\.mdb cannot be opened: the file is damaged: .*left as it is/,
  })
  t.ok(readFileSync(path).equals(bytes))
})

t.test('a file that ends before pages which are not in use is whole', async t => {
  const dir = t.testdir()
  const store = await openEmbeddedStore({ dir, maxBytes: 50_000_000 })
  const path = join(dir, 'blobs.mdb')
  let short = 0
  for (let round = 0; round < 30; round++) {
    // Written and replaced in one transaction: the first pages are freed before they reach the
    // disk.
    await Promise.all([700_000, 900_000, 40_000].map(bytes => store.results.put('key', blobOf(bytes), 60)))
    if (lastPage(path) * 4_096 > statSync(path).size) short++
    t.equal(checkFile(path), 'whole')
  }
  t.ok(short > 0, 'this happens')
  await store.close()
  const reopened = await open(t, { dir })
  t.ok(isWhole(await reopened.results.get('key')))
})

/** Reads the number of the last page from the newer meta page. */
function lastPage(path: string): number {
  const file = readFileSync(path).subarray(0, 8_192)
  const [first, second] = [0, 4_096].map(start => ({
    last: Number(file.readBigUInt64LE(start + 144)),
    transaction: file.readBigUInt64LE(start + 152),
  })) as [{ last: number; transaction: bigint }, { last: number; transaction: bigint }]
  return second.transaction > first.transaction ? second.last : first.last
}

t.test('without room for the cache new blobs replace older ones, and the ledger goes on', async t => {
  let hasRoom = true
  const store = await open(t, { hasRoom: () => hasRoom })
  for (let index = 0; index < 5; index++) {
    await store.results.put(`key-${index}`, blobOf(100_000), 600)
    elapse(store, 1)
  }
  const before = await store.size()
  hasRoom = false
  await store.results.put('new', blobOf(100_000), 600)
  t.ok(await store.results.has('new'))
  t.equal(await store.results.has('key-0'), false)
  t.ok(((await store.size())?.bytes ?? 0) <= (before?.bytes ?? 0))
  await t.rejects(store.results.put('huge', blobOf(900_000), 600), { name: 'StoreError', message: /almost full/ })
  t.equal(await store.results.has('new'), true, 'a blob that does not fit evicts nothing')
  t.match(await store.ledger.reserve(call('a'), { daily: 1_000 }), { ok: true })
  t.equal(store.isUp(), true)
})

t.test('without room for the cache its size stays about the same, whatever sizes replace each other', async t => {
  let hasRoom = true
  const dir = t.testdir()
  const store = await open(t, { dir, hasRoom: () => hasRoom })
  for (let index = 0; index < 150; index++) await store.results.put(`old-${index}`, blobOf(63_000), 600)
  const mark = (await store.size())?.bytes ?? 0
  hasRoom = false
  const refused: number[] = []
  for (let index = 0; index < 400; index++) {
    // The clock has to go on: the order of eviction is by use.
    elapse(store, 0.01)
    // The room of a disk that others use as well comes and goes.
    if (index > 300) hasRoom = index % 20 === 1
    const bytes = index % 10 === 0 ? 1_500_000 : 1 + ((index * 7_919) % 300_000)
    await store.results.put(`new-${index}`, blobOf(bytes), 600).catch(() => refused.push(index))
    const share = ((await store.size())?.bytes ?? 0) / mark
    if (share < 0.8 || share > (index > 300 ? 1.2 : 1)) t.fail(`${index}: ${share} of the mark`)
  }
  t.same(refused, [])
  await t.rejects(store.results.put('huge', blobOf(40_000_000), 600), { name: 'StoreError', message: /almost full/ })
  const kept = await store.size()
  t.ok(kept && kept.bytes > mark * 0.8, 'a blob larger than the mark is refused and evicts nothing')
  hasRoom = false
  await store.results.clear()
  await store.close()
  const reopened = await open(t, { dir, hasRoom: () => false })
  await reopened.results.put('next', blobOf(1_500_000), 600)
  t.ok(await reopened.results.has('next'), 'a cache that was emptied fills its file again, also after a restart')
})

t.test('on a disk that the cache fills, ledger steps still succeed', async t => {
  const dir = mkdtempSync(join(tmpdir(), 'small-disk-'))
  let isSmall = true
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', 'size=40m', 'tmpfs', dir], { stdio: 'ignore' })
  } catch {
    isSmall = false
    t.comment('no permission to mount a small disk: the room of the real disk was used')
  }
  t.teardown(() => {
    if (isSmall) execFileSync('umount', ['-l', dir])
    rmSync(dir, { recursive: true, force: true })
  })
  const store = await open(t, { dir, maxBytes: 200_000_000 })
  for (let index = 0; index < 80; index++) {
    await store.results.put(`key-${index}`, blobOf(1_000_000), 600).catch(() => undefined)
    await store.ledger.reserve(call(`call-${index}`), { daily: 1_000_000 })
    await store.ledger.settle(call(`call-${index}`), charged(70))
  }
  t.ok(await store.results.has('key-79'), 'the cache goes on within its room')
  t.equal((await entriesOf(store.ledger, call('a').day)).length, 80)
  t.equal(store.isUp(), true)
})

t.test('a full disk fails only the writes, and the store recovers', async t => {
  const program = fileURLToPath(new URL('./write-until-full.js', import.meta.url))
  const limited = 'trap "" XFSZ; ulimit -f 20000; exec "$0" "$@"'
  const { stdout } = await promisify(execFile)('sh', ['-c', limited, process.execPath, program, t.testdir()])
  const report = JSON.parse(stdout.trim().split('\n').at(-1) ?? '')
  t.ok(report.written >= 5, 'some blobs fit')
  t.match(report, { upAfterFailure: false, readable: true, up: true })
  t.same(report.failures, ['StoreError', 'StoreError', 'StoreError'])
  t.equal(report.again, undefined, 'there is room again after deletions')
})

t.test('kill -9 during writes loses no acknowledged write and damages nothing', async t => {
  const dir = t.testdir()
  const program = fileURLToPath(new URL('./write-until-killed.js', import.meta.url))
  const witness = await openEmbeddedStore({ dir, maxBytes: 5_000_000 })
  t.teardown(() => witness.close())
  const acknowledged: string[] = []
  for (let round = 0; round < 3; round++) {
    const child = fork(program, [dir, `${round}`], { execArgv: [] })
    let nextMessage = 0
    child.on('message', callId => {
      acknowledged.push(String(callId))
      if (++nextMessage === 40 + round) child.kill('SIGKILL')
    })
    const [, signal] = await once(child, 'exit')
    t.equal(signal, 'SIGKILL')
    await witness.ledger.settle(call(`witness-${round}`), charged(1))
  }
  await check(t, witness, acknowledged)
  await witness.close()
  const reopened = await openEmbeddedStore({ dir, maxBytes: 5_000_000 })
  t.teardown(() => reopened.close())
  await check(t, reopened, acknowledged)
  t.ok(existsSync(join(dir, 'ledger.mdb')))
})

/**
 * Checks that every acknowledged settle exists, totals match the entries, and each blob is whole or
 * absent.
 */
async function check(t: Test, store: Store, acknowledged: string[]): Promise<void> {
  const { day, month } = call('a')
  const entries = await entriesOf(store.ledger, day)
  const settled = new Set(entries.filter(entry => entry.state === 'charged').map(entry => entry.callId))
  t.same(
    acknowledged.filter(callId => !settled.has(callId)),
    [],
  )
  const [row] = await store.ledger.usage(month)
  const costs = entries.reduce((sum, entry) => sum + (entry.settled?.cost ?? 0), 0)
  t.match(row, { paidCalls: settled.size, charged: costs, reservedCalls: entries.length - settled.size })
  const open = await store.ledger.reservedBefore(Number.MAX_SAFE_INTEGER, entries.length)
  t.equal(open.length, entries.length - settled.size)
  t.same(await store.ledger.booked('vision', { day, month }), {
    daily: costs + (row?.reserved ?? 0),
    monthly: costs + (row?.reserved ?? 0),
  })
  const blobs = await Promise.all(
    [0, 1, 2].flatMap(round => Array.from({ length: 12 }, (_, index) => store.results.get(`${round}-${index}`))),
  )
  const there = blobs.filter(blob => blob !== undefined)
  t.ok(there.length > 0)
  t.ok(there.every(isWhole), 'no blob mixes two writes')
  t.equal((await store.size())?.entries, there.length)
}
