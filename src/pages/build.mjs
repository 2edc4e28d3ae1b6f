// Puts beside the compiled pages what they are made of besides: markup, styles, pictures, the charts; and each file once more, compressed.
// node src/pages/build.mjs, after tsc: `npm run build` does both.
import { copyFileSync, cpSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { brotliCompressSync, constants, gzipSync } from 'node:zlib'

const COPIED = /\.(html|css|svg|png|webmanifest)$/
const COMPRESSED = /\.(html|css|svg|js)$/
const MIN_BYTES = 500

for (const name of ['package.json', 'README.md']) copyFileSync(`src/client/${name}`, `dist/client/${name}`)
cpSync('src/pages', 'dist/pages', { recursive: true, filter: path => !/\.\w+$/.test(path) || COPIED.test(path) })
mkdirSync('dist/pages/vendor', { recursive: true })
// Its smallest build, as a module: half of what its own module takes.
const uplot = readFileSync('node_modules/uplot/dist/uPlot.iife.min.js', 'utf8')
writeFileSync('dist/pages/vendor/uplot.js', `${uplot.trimEnd()}\nexport default uPlot\n`)
copyFileSync('node_modules/uplot/dist/uPlot.min.css', 'dist/pages/vendor/uplot.css')

for (const folder of ['dist/pages', 'dist/client']) {
  for (const name of readdirSync(folder, { recursive: true, encoding: 'utf8' })) {
    if (!COMPRESSED.test(name)) continue
    const bytes = readFileSync(`${folder}/${name}`)
    if (bytes.length < MIN_BYTES) continue
    const params = { [constants.BROTLI_PARAM_SIZE_HINT]: bytes.length }
    writeFileSync(`${folder}/${name}.br`, brotliCompressSync(bytes, { params }))
    writeFileSync(`${folder}/${name}.gz`, gzipSync(bytes, { level: 9 }))
  }
}
