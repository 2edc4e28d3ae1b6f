import type { Selection } from '../../client/index.js'

export type Language = 'curl' | 'node' | 'python'

export interface Asked {
  /** Where the gateway is. */
  url: string
  fileName: string
  selection: Selection
  /** Where the answer is saved. */
  savedAs: string
}

/** The same question as a program; the key is read from SEGMIND_GATEWAY_KEY. */
export function snippetOf(language: Language, asked: Asked): string {
  return { curl, node, python }[language](asked)
}

/** The fields of a form, as text. */
function fieldsOf({ prompt, coordinates, removeCoordinates, output }: Selection): [name: string, value: string][] {
  const fields = {
    prompt,
    coordinates: coordinates && JSON.stringify(coordinates),
    remove_coordinates: removeCoordinates && JSON.stringify(removeCoordinates),
    output,
  }
  return Object.entries(fields).filter((field): field is [string, string] => field[1] !== undefined)
}

function curl({ url, fileName, selection, savedAs }: Asked): string {
  // --form-string: a value that begins with @ or < is no name of a file.
  const fields = fieldsOf(selection).map(([name, value]) => `--form-string ${inShell(`${name}=${value}`)}`)
  const file = `image=@"${fileName.replace(/["\\]/g, '\\$&')}"`
  const lines = [
    `curl -sS -D - -o ${inShell(asPath(savedAs))} ${inShell(`${url}/segment`)}`,
    '-H "x-api-key: $SEGMIND_GATEWAY_KEY"',
    ...fields,
    `-F ${inShell(file)}`,
  ]
  return lines.join(' \\\n  ')
}

function node({ url, fileName, selection, savedAs }: Asked): string {
  return `import { openAsBlob } from 'node:fs'
import { writeFile } from 'node:fs/promises'

const form = new FormData()
${fieldsOf(selection)
  .map(([name, value]) => `form.set(${text(name)}, ${text(value)})\n`)
  .join('')}form.set("image", await openAsBlob(${text(fileName)}), ${text(fileName)})

const response = await fetch(${text(`${url}/segment`)}, {
  method: 'POST',
  headers: { 'x-api-key': process.env.SEGMIND_GATEWAY_KEY },
  body: form,
})
if (!response.ok) throw new Error(await response.text())
console.log(response.headers.get('x-cache'), response.headers.get('x-cost'))
await writeFile(${text(savedAs)}, new Uint8Array(await response.arrayBuffer()))
`
}

function python({ url, fileName, selection, savedAs }: Asked): string {
  return `import os

import requests

with open(${text(fileName)}, "rb") as image:
    response = requests.post(
        ${text(`${url}/segment`)},
        headers={"x-api-key": os.environ["SEGMIND_GATEWAY_KEY"]},
        data={
${fieldsOf(selection)
  .map(([name, value]) => `            ${text(name)}: ${text(value)},\n`)
  .join('')}        },
        files={"image": image},
        timeout=90,
    )
if not response.ok:
    raise SystemExit(response.text)
print(response.headers["x-cache"], response.headers["x-cost"])
with open(${text(savedAs)}, "wb") as file:
    file.write(response.content)
`
}

function inShell(word: string): string {
  return `'${word.replaceAll("'", `'\\''`)}'`
}

/** A name that begins with a dash is no option. */
function asPath(name: string): string {
  return name.startsWith('-') ? `./${name}` : name
}

/** A string as JavaScript and Python both read it. */
function text(value: string): string {
  return JSON.stringify(value)
}
