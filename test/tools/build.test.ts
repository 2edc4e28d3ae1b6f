import { existsSync, mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join, relative, resolve } from 'node:path'
import { pathToFileURL } from 'node:url'
import t from 'tap'

type Produce = (folder: string) => Promise<void>

const { build } = (await import(pathToFileURL(resolve('.tools/build.mjs')).href)) as {
  build(target: string, sources: string[], produce: Produce): Promise<void>
}

const produceText =
  (text: string): Produce =>
  async folder => {
    mkdirSync(folder)
    await new Promise(setImmediate)
    writeFileSync(join(folder, 'a.js'), text)
  }

const leftovers = () => readdirSync('.').filter(name => name.startsWith('.build-next-'))

t.test('builds of different targets at once do not mix', async t => {
  const dir = relative('.', t.testdir({ source: '' }))
  const targets = ['one', 'two'].map(name => join(dir, name))
  await Promise.all(targets.map(target => build(target, [join(dir, 'source')], produceText(target))))
  for (const target of targets) {
    t.same(readdirSync(target).sort(), ['.stamp', 'a.js'])
    t.equal(readFileSync(join(target, 'a.js'), 'utf8'), target)
  }
})

t.test('a build replaces its target as a whole, only after a change', async t => {
  const dir = relative('.', t.testdir({ source: '', target: { 'removed.js': '' } }))
  const [source, target] = [join(dir, 'source'), join(dir, 'target')]
  utimesSync(source, new Date(0), new Date(0))
  await build(target, [source], produceText('first'))
  t.same(readdirSync(target).sort(), ['.stamp', 'a.js'])
  await build(target, [source], async () => {
    t.fail('built again')
  })
  await new Promise(resolve => setTimeout(resolve, 10))
  writeFileSync(source, 'changed')
  await build(target, [source], async folder => {
    await produceText('second')(folder)
    t.equal(
      readFileSync(join(target, 'a.js'), 'utf8'),
      'first',
      'readers see the old build until the new one is complete',
    )
  })
  t.equal(readFileSync(join(target, 'a.js'), 'utf8'), 'second')
})

t.test('a failed build keeps the last one', async t => {
  const dir = relative('.', t.testdir({ source: '', target: { 'a.js': 'kept' } }))
  const target = join(dir, 'target')
  const failing: Produce = async folder => {
    await produceText('half')(folder)
    throw new Error('syntax error')
  }
  await t.rejects(build(target, [join(dir, 'source')], failing), /syntax error/)
  t.equal(readFileSync(join(target, 'a.js'), 'utf8'), 'kept')
  t.notOk(existsSync(join(target, '.stamp')))
  t.same(leftovers(), [])
})
