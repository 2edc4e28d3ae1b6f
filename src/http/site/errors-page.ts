import { ERRORS } from '../../contracts/errors.js'
import type { HtmlPage } from './html-page.js'

const STYLE = `table{border-collapse:collapse;width:100%}
td,th{text-align:left;padding:.4rem .8rem;border-bottom:1px solid #8886}tr:target{background:#fc03}`

const INTRODUCTION = `Every error is <code>application/problem+json</code>. Decide by <code>code</code>.
If <code>retryable</code> is true, the same request may succeed later: wait for <code>Retry-After</code> and send
it again. Otherwise change the request first. <code>billed</code> says if this request cost credits:
<code>no</code>, <code>yes</code>, or <code>unknown</code> when no response arrived. Find the request in the
gateway's log by its <code>requestId</code>.`

/** Lists every error code. The `type` of a problem links to its row. */
export function errorsPage(): HtmlPage {
  const rows = Object.entries(ERRORS).map(([code, { status, title, retryable }]) => {
    const cells = [`<code>${code}</code>`, status, title, retryable ? 'yes' : 'no']
    return `<tr id="${code}">${cells.map(cell => `<td>${cell}</td>`).join('')}</tr>`
  })
  const head = ['code', 'status', 'meaning', 'retryable'].map(name => `<th>${name}</th>`).join('')
  const table = `<table><thead><tr>${head}</tr></thead><tbody>\n${rows.join('\n')}\n</tbody></table>`
  return { title: 'Errors of segmind-gateway', style: STYLE, body: `<h1>Errors</h1>\n<p>${INTRODUCTION}</p>\n${table}` }
}
