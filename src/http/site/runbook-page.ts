import { Marked } from 'marked'
import type { HtmlPage } from './html-page.js'

const STYLE = `pre,code{font:14px/1.5 ui-monospace,monospace;background:#8882}pre{padding:.6rem;overflow-x:auto}
h2{border-top:1px solid #8886;padding-top:1rem}h2:target{background:#fc03}`

/** Renders the runbook. Alerts link to its sections. Only links within the page are kept. */
export function runbookPage(markdown: string): HtmlPage {
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        const words = this.parser.parseInline(tokens)
        return depth === 2 ? `<h2 id="${text.toLowerCase()}">${words}</h2>\n` : `<h${depth}>${words}</h${depth}>\n`
      },
      // The gateway serves no other file of docs/, so links to them become plain text.
      link: ({ href, text }) => (href.startsWith('#') ? `<a href="${href}">${text}</a>` : `docs/${text}`),
    },
  })
  return { title: 'Runbook of segmind-gateway', style: STYLE, body: marked.parse(markdown, { async: false }) }
}
