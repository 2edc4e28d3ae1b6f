import {
  chmodSync,
  existsSync,
  lstatSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  readFileSync,
  rmSync,
  statSync,
  symlinkSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import t from 'tap'
import { changeFile } from '../../src/teams/file-change.js'

const NO_WAIT = { waitMs: 0, retryMs: 1, staleMs: 15_000 }

function folderFor(t: { teardown(clean: () => void): void }): string {
  const folder = mkdtempSync(join(tmpdir(), 'change-'))
  t.teardown(() => rmSync(folder, { recursive: true, force: true }))
  return folder
}

t.test('a file is created, changed or left unchanged, without leftover files', async t => {
  const folder = folderFor(t)
  const file = join(folder, 'teams.yaml')
  await changeFile(file, text => `${text} first`)
  t.equal(readFileSync(file, 'utf8'), 'undefined first')
  await changeFile(file, text => `${text}, second`)
  t.equal(readFileSync(file, 'utf8'), 'undefined first, second')
  const before = statSync(file).ino
  await changeFile(file, () => undefined)
  t.equal(statSync(file).ino, before)
  t.strictSame(readdirSync(folder), ['teams.yaml'])
})

t.test('the file is replaced, not rewritten, and keeps its mode', async t => {
  const file = join(folderFor(t), 'teams.yaml')
  writeFileSync(file, 'old')
  chmodSync(file, 0o640)
  const before = statSync(file).ino
  await changeFile(file, () => 'new')
  t.not(statSync(file).ino, before)
  t.equal(statSync(file).mode & 0o777, 0o640)
})

t.test('a symbolic link is kept, and its target is changed', async t => {
  const folder = folderFor(t)
  mkdirSync(join(folder, 'real'))
  writeFileSync(join(folder, 'real', 'teams.yaml'), 'old')
  const link = join(folder, 'teams.yaml')
  symlinkSync('real/teams.yaml', link)
  await changeFile(link, () => 'new')
  t.ok(lstatSync(link).isSymbolicLink())
  t.equal(readFileSync(join(folder, 'real', 'teams.yaml'), 'utf8'), 'new')
})

t.test('concurrent writers lose no change', async t => {
  const folder = folderFor(t)
  const file = join(folder, 'count')
  await Promise.all(Array.from({ length: 12 }, () => changeFile(file, text => `${Number(text ?? 0) + 1}`)))
  t.equal(readFileSync(file, 'utf8'), '12')
  t.strictSame(readdirSync(folder), ['count'])
})

t.test('a lock that another writer holds is respected', async t => {
  const file = join(folderFor(t), 'teams.yaml')
  writeFileSync(`${file}.lock`, 'another process')
  await t.rejects(
    changeFile(file, () => 'new', NO_WAIT),
    { message: /another process is changing the file/ },
  )
  t.notOk(existsSync(file))
  t.equal(readFileSync(`${file}.lock`, 'utf8'), 'another process')
})

t.test('an abandoned lock is removed', async t => {
  const folder = folderFor(t)
  const file = join(folder, 'teams.yaml')
  writeFileSync(`${file}.lock`, 'another process')
  const longAgo = Date.now() / 1000 - 60
  utimesSync(`${file}.lock`, longAgo, longAgo)
  await changeFile(file, () => 'new', NO_WAIT)
  t.strictSame(readdirSync(folder), ['teams.yaml'])
})

t.test('a writer that lost its lock writes nothing and keeps the other lock', async t => {
  const file = join(folderFor(t), 'teams.yaml')
  const change = changeFile(file, () => {
    writeFileSync(`${file}.lock`, 'the other')
    return 'new'
  })
  await t.rejects(change, { message: /took over the lock: try again/ })
  t.notOk(existsSync(file))
  t.equal(readFileSync(`${file}.lock`, 'utf8'), 'the other')
})

t.test('a change that throws leaves the file unchanged and releases the lock', async t => {
  const folder = folderFor(t)
  const file = join(folder, 'teams.yaml')
  writeFileSync(file, 'old')
  const failing = changeFile(file, () => {
    throw new Error('no change')
  })
  await t.rejects(failing, { message: 'no change' })
  t.equal(readFileSync(file, 'utf8'), 'old')
  t.strictSame(readdirSync(folder), ['teams.yaml'])
})

t.test('a failed write has a readable message', async t => {
  const folder = folderFor(t)
  await t.rejects(
    changeFile(join(folder, 'none', 'teams.yaml'), () => 'new'),
    { message: /its folder does not exist/ },
  )
  await t.rejects(
    changeFile(folder, () => 'new'),
    { message: /it is a folder/ },
  )
  t.notOk(existsSync(`${folder}.lock`))
})
