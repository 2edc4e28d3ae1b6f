import { mkdirSync, rmSync, utimesSync, writeFileSync } from 'node:fs'
import { resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t, { type Test } from 'tap'

const { isUpToDate } = (await import(pathToFileURL(resolve('.tools/up-to-date.mjs')).href)) as {
  isUpToDate(stamp: string, sources: string[]): boolean
}

/** Creates sources that were built some time after their last change. */
function builtTree(t: Test) {
  const dir = t.testdir({ src: { 'a.ts': '', inner: { 'b.ts': '' } }, lock: '' })
  const changedAt = new Date('2026-01-01')
  for (const name of ['src/a.ts', 'src/inner/b.ts', 'src/inner', 'src', 'lock']) {
    utimesSync(`${dir}/${name}`, changedAt, changedAt)
  }
  const stamp = `${dir}/stamp`
  writeFileSync(stamp, '')
  utimesSync(stamp, new Date('2026-01-02'), new Date('2026-01-02'))
  return { dir, isCurrent: () => isUpToDate(stamp, [`${dir}/src`, `${dir}/lock`]), stamp }
}

t.test('nothing is rebuilt while no source changes', async t => {
  t.equal(builtTree(t).isCurrent(), true)
})

t.test('a changed, a new and a removed source, and a lost build, call for a build', async t => {
  const changes: ((dir: string) => void)[] = [
    dir => writeFileSync(`${dir}/src/inner/b.ts`, 'changed'),
    dir => writeFileSync(`${dir}/lock`, 'changed'),
    dir => writeFileSync(`${dir}/src/inner/c.ts`, ''),
    dir => mkdirSync(`${dir}/src/other`),
    dir => rmSync(`${dir}/src/inner/b.ts`),
    dir => rmSync(`${dir}/stamp`),
  ]
  for (const change of changes) {
    const { dir, isCurrent } = builtTree(t)
    change(dir)
    t.equal(isCurrent(), false, String(change))
  }
})
