import { execFile } from 'node:child_process'
import { readFile, writeFile } from 'node:fs/promises'
import { join } from 'node:path'
import { promisify } from 'node:util'
import t from 'tap'
import { stringify } from 'yaml'

const run = promisify(execFile)

async function generated(...options: string[]): Promise<string> {
  const { stdout } = await run(process.execPath, ['docs/client-types.mjs', '--print', ...options])
  return stdout
}

t.test('the client’s types match openapi.yaml', async t => {
  t.equal(await generated(), await readFile('src/client/api.ts', 'utf8'), 'run node docs/client-types.mjs')
})

t.test('each kind of schema becomes a type, and unknown schemas are left out', async t => {
  const ref = (name: string) => ({ $ref: `#/components/schemas/${name}` })
  const schemas = {
    Quote: {
      description: 'What it\n  costs */ now.',
      type: 'object',
      required: ['a', 'x-y'],
      properties: {
        a: { description: 'A count.', type: ['integer', 'null'] },
        'x-y': { enum: ['p', 'q'] },
        c: { const: 3 },
        d: { type: 'array', items: { oneOf: [{ type: 'string' }, ref('Point')] } },
        e: { type: 'array', prefixItems: [{ type: 'string' }, { type: 'number' }] },
        f: { type: 'object', additionalProperties: { type: 'boolean' } },
        g: { allOf: [ref('Point'), { oneOf: [{ type: 'string' }, { type: 'null' }] }] },
        h: {},
      },
    },
    Point: { type: 'array', items: { type: 'number' }, minItems: 2, maxItems: 2 },
    Unused: { type: 'string' },
  }
  const file = join(t.testdir({}), 'openapi.yaml')
  await writeFile(file, stringify({ components: { schemas } }))
  const text = await generated('--from', file)
  t.equal(
    text.slice(text.indexOf('\n\n') + 2),
    `/** What it costs *\\/ now. */
export interface Quote {
  /** A count. */
  a: number | null
  'x-y': 'p' | 'q'
  c?: 3
  d?: (string | Point)[]
  e?: [string, number]
  f?: Record<string, boolean>
  g?: Point & (string | null)
  h?: unknown
}

export type Point = [number, number]
`,
  )
})

t.test('the client compiles without the types of Node.js', async t => {
  const tsc = ['node_modules/typescript/bin/tsc', '-p', 'src/client/tsconfig.json', '--outDir', t.testdir({})]
  await t.resolves(run(process.execPath, tsc))
})
