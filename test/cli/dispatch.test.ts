import { readFileSync } from 'node:fs'
import { parseArgs } from 'node:util'
import t from 'tap'
import { dispatch } from '../../src/cli/dispatch.js'
import { type Command, usageError } from '../../src/cli/io.js'
import { loadSettings } from '../../src/config/index.js'
import { recorder } from './recorder.js'

const commands: Record<string, Command> = {
  greet: {
    help: 'Greets people\n\nsegmind-gateway greet [--loud] [name]\n    Says hello.',
    run: async (args, io) => {
      const { values, positionals } = parseArgs({
        args,
        allowPositionals: true,
        options: { loud: { type: 'boolean' } },
      })
      io.stdout(`hello ${positionals[0] ?? 'you'}${values.loud ? '!' : ''} ${io.env.GREETING}`)
      return 7
    },
  },
  fail: { help: 'Fails', run: async args => Promise.reject(FAILURES[args[0] ?? '']) },
  settings: { help: 'Reads settings', run: async (_, io) => loadSettings(io.env).server.port },
}

const FAILURES: Record<string, unknown> = {
  plain: new Error('the disk\nis full'),
  usage: usageError('which one?'),
  odd: 'just text',
}

async function dispatched(argv: string[], env: NodeJS.ProcessEnv = { GREETING: 'there' }) {
  const io = recorder(env)
  const code = await dispatch(argv, io, commands)
  return { code, out: io.out.join('\n'), err: io.err.join('\n') }
}

t.test('a command receives its arguments and environment and returns the exit code', async t => {
  t.strictSame(await dispatched(['greet', 'ann', '--loud']), { code: 7, out: 'hello ann! there', err: '' })
})

t.test('help lists the commands with the first line of their help, on stdout', async t => {
  for (const argv of [['--help'], ['-h'], ['help']]) {
    const { code, out, err } = await dispatched(argv)
    t.equal(code, 0)
    t.equal(err, '')
    t.match(out, /^Usage: segmind-gateway <command>/)
    t.match(out, / {2}greet {5}Greets people\n/)
    t.notMatch(out, 'Says hello')
  }
})

t.test('help of one command prints its whole help and runs nothing', async t => {
  for (const argv of [
    ['greet', '--help'],
    ['greet', 'ann', '-h'],
    ['help', 'greet'],
  ]) {
    t.strictSame(await dispatched(argv), { code: 0, out: commands.greet?.help, err: '' })
  }
  t.match(await dispatched(['greet', '--', '--help']), { code: 7, out: 'hello --help there' })
})

t.test('no command or an unknown one has exit code 2 and the list on stderr', async t => {
  for (const argv of [[], ['grete'], ['constructor'], ['help', 'grete'], ['']]) {
    const { code, out, err } = await dispatched(argv)
    t.equal(code, 2, argv.join())
    t.equal(out, '')
    t.match(err, 'Usage: segmind-gateway')
  }
  t.match((await dispatched(['grete'])).err, /^There is no command "grete"\.\n/)
})

t.test('the version is read from package.json', async t => {
  const { version } = JSON.parse(readFileSync('package.json', 'utf8'))
  for (const argv of [['--version'], ['-v'], ['version']])
    t.strictSame(await dispatched(argv), { code: 0, out: version, err: '' })
})

t.test('failures are printed without a stack, with exit code 1, or 2 for wrong usage', async t => {
  t.strictSame(await dispatched(['fail', 'plain']), { code: 1, out: '', err: 'the disk\nis full' })
  t.strictSame(await dispatched(['fail', 'odd']), { code: 1, out: '', err: 'just text' })
  t.strictSame(await dispatched(['fail', 'usage']), {
    code: 2,
    out: '',
    err: 'which one?\nSee segmind-gateway fail --help',
  })
  t.match(await dispatched(['greet', '--quiet']), {
    code: 2,
    out: '',
    err: /--quiet[^\n]*\n(?:.*\n)*See segmind-gateway greet --help$/,
  })
})

t.test('every problem of the settings is printed with its name', async t => {
  const { code, err } = await dispatched(['settings'], { PORT: 'x', LOG_LEVEL: 'y' })
  t.equal(code, 1)
  t.match(err, /^The settings are not valid:\n {2}PORT: .*\n {2}LOG_LEVEL: /)
  t.notMatch(err, '--help')
})
