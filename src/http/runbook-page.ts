import { Marked } from 'marked'

const STYLE = `body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color-scheme:light dark}
pre,code{font:14px/1.5 ui-monospace,monospace;background:#8882}pre{padding:.6rem;overflow-x:auto}h2{border-top:1px solid #8886;padding-top:1rem}
h2:target{background:#fc03}`

/** The runbook as a page: what alerts lead to. Of its links only those within the page lead anywhere here. */
export function runbookPage(markdown: string): string {
  const marked = new Marked({
    renderer: {
      heading({ tokens, depth, text }) {
        const words = this.parser.parseInline(tokens)
        return depth === 2 ? `<h2 id="${text.toLowerCase()}">${words}</h2>\n` : `<h${depth}>${words}</h${depth}>\n`
      },
      // What is served is this page; the other files lie beside it in the repository.
      link: ({ href, text }) => (href.startsWith('#') ? `<a href="${href}">${text}</a>` : `docs/${text}`),
    },
  })
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><title>Runbook of segmind-gateway</title>
<meta name="viewport" content="width=device-width, initial-scale=1">
<style>${STYLE}</style>
</head><body>
${marked.parse(markdown, { async: false })}
</body></html>`
}
